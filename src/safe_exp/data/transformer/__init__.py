"""Texts as the tokens of a transformer: its input embeddings as a table of word vectors, or its hidden states.

pieces.py          its tokenizer: texts to tokens
source.py          the model's folder, digest and table of input embeddings
hidden_states.py   vectors of tokens in their context
coder.py           texts of articles as sentences of the one kind or the other
prepared_texts.py  the texts of a prepared data set, each coded once
chosen.py          the transformer of a training
"""
