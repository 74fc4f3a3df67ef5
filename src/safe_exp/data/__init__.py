"""Articles on disk become batches of word numbers.

reading/            articles where they lie: texts and images that others made
reading/readers/    one module for each kind of data set
prepared/           raw articles to a prepared data set, once
prepare_command.py  what the command prepare does and prints
pretrained.py       models of transformers, found on disk or on the hub
captioners/         images to sentences, one module for each captioner
codebook.py         visual words: the vocabulary of image patches
gallery.py          the pictures of an article, as far as they fit
download/           images from their addresses
splitting/          train, val and test; near-duplicates; leakage by publishers and repeats
synthetic/          the built-in data set
scripts.py          the letters of scripts without spaces
word_cutters/       words of such scripts, one module for each word cutter
text.py             words and the vocabulary
vectors.py          word vectors
vector_files.py     text files of word vectors
packed_text.py      text files, packed or not
kept_vectors.py     the vectors taken from such a file, kept for other jobs
lexicon.py          the words of a run, with their vectors
transformer/        texts as a transformer's tokens or hidden states
selection.py        the articles that a run uses
article_weights.py  weights of the training articles in the loss
embedded.py         sentences as sequences of vectors
vector_store.py     such sequences on disk, computed once
patch_vectors.py    such sequences of pictures' patches
encoded.py          the data set as matrices of word numbers, or as sequences of vectors
sampler.py          the order of articles and their batches, shared between processes
batch.py            NewsBatch, which travels to the network
artifacts.py        tokenizer, vectors, codebook and manifest, as a run keeps them
datamodule.py       the Lightning data module, which calls all of them in order
summary.py          the lines printed before training
article_encoder.py  single articles for a stored run
shared_reading.py   work on them that several runs share
labelled_folder.py  a labelled folder for a stored run
"""
