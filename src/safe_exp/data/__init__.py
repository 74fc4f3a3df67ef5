"""From a folder of articles to batches of word numbers.

articles.py     folder → records, and what was left out    captions.py   how an image becomes a sentence
untrusted.py    reading files that others wrote            splits.py     train, val, test
text.py         tokenizer and vocabulary                   vectors.py    word vectors
encoded.py      the data set as integer tensors            sampler.py    order and batches, shared between processes
batch.py        what travels to the network                artifacts.py  what a run keeps of its data
download.py     image addresses → image files              fetch.py      one image from one address
addresses.py    which network addresses are public         image_kinds.py told by their first bytes
datamodule.py   all of them in the order of use            summary.py    what is printed before training
synthetic/      the built-in data set
"""
