"""From articles, as folders or as a table, to batches of word numbers.

readers/      articles where they lie             prepared/     raw articles → a prepared data set, once
captioners/   images → sentences                  images.py     images that others made
download/     images from their addresses         untrusted.py  files that others wrote
cleaning.py   what crawlers leave in texts        articles.py   one article, and why one is left out
text.py       words and the vocabulary            vectors.py    word vectors
duplicates.py near-duplicates, groups.py          splits.py     train, val, test; dates.py; leakage.py
selection.py  which articles a run uses           encoded.py    the data set as integer matrices
sampler.py    order, shared between processes     batch.py      what travels to the network
artifacts.py  what a run keeps of its data        datamodule.py all of them in the order of use
scoring.py    other articles for a stored run     summary.py    what is printed before training
synthetic/    the built-in data set
"""
