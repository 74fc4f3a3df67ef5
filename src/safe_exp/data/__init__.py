"""From articles to batches of word numbers.

reading/            articles where they lie, and what others wrote in them
reading/readers/    each kind of data set
prepared/           raw articles to a prepared data set, once
captioners/         images to sentences; each captioner
codebook.py         visual words, the vocabulary of patches
download/           images from their addresses
splitting/          train, val and test; near-duplicates; leakage
synthetic/          the built-in data set
text.py             words and the vocabulary
vectors.py          word vectors
selection.py        the articles that a run uses
encoded.py          the data set as integer matrices
sampler.py          the order of articles, shared between processes
batch.py            what travels to the network
artifacts.py        what a run keeps of its data
datamodule.py       all of them in the order of use
summary.py          what is printed before training
article_encoder.py  single articles for a stored run
labelled_folder.py  a labelled folder for a stored run
"""
