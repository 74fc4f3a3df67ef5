"""Near-duplicates against brute force: exact Jaccard similarities and all pairs of hashes."""

import json
import re
import string
import zlib
from itertools import combinations

import networkx
import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.data.splitting import duplicates
from safe_exp.data.splitting.duplicates import (
    MAX_STORIES,
    MIN_SIMILARITY,
    PERCEPTUAL_BITS,
    PERMUTATIONS,
    compact_signatures,
    find_copies,
    minhash_signature,
    near_duplicate_groups,
    text_key,
)
from tests.data.folders import REAL_DATA

COPIES = ("A b, c", "a  B c!", "A-B\nC", "a b c")


def draw_words(rng, count):
    return ["".join(rng.choice(list(string.ascii_lowercase), 6)) for _ in range(count)]


def edited(rng, words, changes):
    """Replace `changes` of the words, far apart, by new ones."""
    words = list(words)
    for place in np.linspace(3, len(words) - 4, changes).astype(int):
        words[place] = draw_words(rng, 1)[0]
    return words


def threes(words):
    return {tuple(words[k : k + 3]) for k in range(len(words) - 2)}


def exact_jaccard(left, right):
    left, right = threes(left), threes(right)
    return len(left & right) / len(left | right)


NO_PICTURES = ([], np.zeros(0, np.uint64), np.zeros(0, np.int64))


def find_groups(texts, image_hashes=None, perceptual_hashes=None):
    count = len(texts)
    pictures = NO_PICTURES if perceptual_hashes is None else (image_hashes, perceptual_hashes, np.arange(count))
    return near_duplicate_groups(
        [text_key(text) for text in texts],
        np.array([minhash_signature(text) for text in texts]).reshape(count, PERMUTATIONS),
        *pictures,
    )


def as_sets(numbers):
    return {frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers.tolist())}


def components(count, edges):
    graph = networkx.Graph(edges)
    graph.add_nodes_from(range(count))
    return {frozenset(component) for component in networkx.connected_components(graph)}


def different_texts(count):
    rng = np.random.default_rng(5)
    return [" ".join(draw_words(rng, 12)) for _ in range(count)]


def test_copies_are_recognised_up_to_case_punctuation_and_white_space():
    keys = {text_key(text) for text in COPIES}
    assert len(keys) == 1
    assert text_key("a b c d") not in keys
    assert text_key("!!!") != text_key("???")


def test_estimated_similarity_agrees_with_the_exact_one():
    rng = np.random.default_rng(0)
    errors = []
    for changes in np.repeat([0, 2, 5, 10, 20, 40], 10):
        words = draw_words(rng, 200)
        other = edited(rng, words, changes)
        signatures = minhash_signature(" ".join(words)), minhash_signature(" ".join(other))
        errors.append((signatures[0] == signatures[1]).mean() - exact_jaccard(words, other))
    assert abs(np.mean(errors)) < 0.02
    assert np.abs(errors).max() < 4 * np.sqrt(0.25 / PERMUTATIONS)


def test_near_duplicates_are_those_of_brute_force_over_exact_similarities():
    rng = np.random.default_rng(1)
    texts = []
    for changes in np.repeat([1, 3, 6, 40], 20):  # of 120 words: similarities 0.95 to 0.74, and below 0.1
        words = draw_words(rng, 120)
        texts += [words, edited(rng, words, changes), edited(rng, words, changes)]
    pairs = [
        (i, j) for i, j in combinations(range(len(texts)), 2) if exact_jaccard(texts[i], texts[j]) >= MIN_SIMILARITY
    ]
    assert 100 < len(pairs) < 200
    found = find_groups([" ".join(words) for words in texts])
    assert as_sets(found.group) == components(len(texts), pairs)
    assert found.near_texts == len({article for pair in pairs for article in pair})
    assert found.exact_copies == 0


def test_short_texts_are_alike_only_when_they_are_the_same():
    texts = ["", "!", "?", "word", "other", "two words", "two things", "a b c", "a b d", "中文", "中天", "中文新"]
    assert len(as_sets(find_groups(texts).group)) == len(texts)
    assert find_groups(["Two words", "two, WORDS!"]).group.tolist() == [0, 0]


def test_text_without_spaces_is_compared_by_its_characters():
    rng = np.random.default_rng(2)
    story = "".join(chr(0x4E00 + code) for code in rng.integers(0, 3000, 100))
    changed = story[:50] + "一" + story[51:]
    other = "".join(chr(0x4E00 + code) for code in rng.integers(0, 3000, 100))
    assert find_groups([story, changed, other]).group.tolist() == [0, 0, 1]


def test_a_signature_is_the_same_on_every_machine():
    # Worked out once with datasketch 2.0.0 on x86-64. Other numbers here mean that stored signatures are void.
    signature = minhash_signature("The quick brown fox jumps over the lazy dog")
    assert signature.dtype == np.uint32
    assert signature[:4].tolist() == [1360992111, 616130781, 234196829, 862247899]


def test_a_signature_is_datasketch_s_own_of_the_words_in_threes():
    minhash = MinHash(PERMUTATIONS, hashfunc=zlib.crc32)
    for shingle in ("one two three", "two three four", "three four five"):
        minhash.update(shingle.encode())
    assert (minhash_signature("One, two - three; FOUR five!") == minhash.hashvalues).all()


def test_a_huge_text_costs_no_more_than_its_beginning():
    beginning = " ".join(different_texts(2000))
    assert (minhash_signature(beginning + " more" * 2_000_000) == minhash_signature(beginning)).all()


def test_perceptual_hashes_a_few_bits_apart_tie_as_in_brute_force():
    rng = np.random.default_rng(3)
    hashes = [int(value) for value in rng.integers(0, 2**64, 150, dtype=np.uint64)]
    for number in range(100):
        flips = rng.choice(64, rng.integers(1, 9), replace=False)
        hashes.append(hashes[number] ^ sum(1 << int(bit) for bit in flips))
    pairs = [(i, j) for i, j in combinations(range(250), 2) if (hashes[i] ^ hashes[j]).bit_count() <= PERCEPTUAL_BITS]
    assert 20 < len(pairs) < 100
    found = find_groups(different_texts(250), [str(n) for n in range(250)], np.array(hashes, dtype=np.uint64))
    assert as_sets(found.group) == components(250, pairs)
    assert found.near_images == len({article for pair in pairs for article in pair})
    assert found.identical_images == 0


def test_a_picture_ties_while_few_stories_have_it_and_not_when_many_do():
    far_apart = np.random.default_rng(4).integers(0, 2**64, 20, dtype=np.uint64)
    for stories in (2, MAX_STORIES, MAX_STORIES + 1):
        files = ["shared"] * stories + [str(n) for n in range(20 - stories)]
        found = find_groups(different_texts(20), files, far_apart)
        tied = stories <= MAX_STORIES
        assert len(as_sets(found.group)) == (21 - stories if tied else 20)
        assert found.identical_images == (stories if tied else 0)
        near = far_apart.copy()
        near[:stories] = near[0]  # the same picture, saved anew each time
        found = find_groups(different_texts(20), [str(n) for n in range(20)], near)
        assert found.near_images == (stories if tied else 0)


def test_copies_of_a_story_do_not_make_its_picture_common():
    texts = ["one and the same story"] * 10 + ["quite another story"]
    found = find_groups(texts, ["shared"] * 11, np.zeros(11, dtype=np.uint64))
    assert found.group.tolist() == [0] * 11
    assert (found.exact_copies, found.identical_images, found.near_images) == (10, 11, 0)


def test_articles_without_a_picture_are_not_tied_by_its_absence():
    found = near_duplicate_groups(["a", "b"], np.array([minhash_signature(t) for t in "ab"]), *NO_PICTURES)
    assert found.group.tolist() == [0, 1]


def test_an_article_is_tied_by_any_of_its_pictures():
    far_apart = np.random.default_rng(5).integers(0, 2**64, 6, dtype=np.uint64)
    signatures = np.array([minhash_signature(text) for text in different_texts(5)])
    # Articles 0 and 1 share a file, 1 and 2 nearly the same picture; 3 has another, 4 none.
    files, rows = ["a", "b", "b", "c", "d", "e"], np.array([0, 0, 1, 1, 2, 3])
    hashes = far_apart.copy()
    hashes[1] = hashes[2]
    hashes[4] = hashes[3] ^ np.uint64(1)
    found = near_duplicate_groups([str(n) for n in range(5)], signatures, files, hashes, rows)
    assert found.group.tolist() == [0, 0, 0, 1, 2]
    assert (found.identical_images, found.near_images) == (2, 1)  # 1 counts as tied by the same picture


def test_no_articles_have_no_groups():
    assert find_groups([]).group.tolist() == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab !", max_size=8), st.sampled_from(["w", "x", "y"]), st.integers(0, 40)), max_size=30)
)
def test_groups_are_numbered_by_first_appearance_and_keep_every_copy_together(drawn):
    texts, files, hashes = zip(*drawn, strict=True) if drawn else ((), (), ())
    found = find_groups(texts, list(files), np.array(hashes, dtype=np.uint64))
    numbers = found.group.tolist()
    assert [number for place, number in enumerate(numbers) if number not in numbers[:place]] == list(
        range(len(set(numbers)))
    )
    for left, right in combinations(range(len(texts)), 2):
        if text_key(texts[left]) == text_key(texts[right]):
            assert numbers[left] == numbers[right]


def test_the_work_grows_with_the_articles_and_not_with_their_pairs(monkeypatch):
    """Half of the texts share a quarter of their shingles: their buckets are large, nearly all pairs needless."""
    compared = {}
    compare = duplicates._are_similar

    def counting(signatures, left, right):
        compared[len(signatures)] = compared.get(len(signatures), 0) + len(left)
        return compare(signatures, left, right)

    monkeypatch.setattr(duplicates, "_are_similar", counting)
    monkeypatch.setattr(duplicates, "MAX_NEIGHBOURS", 8)  # so that the smaller set has buckets beyond it as well
    rng = np.random.default_rng(6)
    for count in (2_000, 16_000):
        signatures = rng.integers(0, 2**32, (count, PERMUTATIONS), dtype=np.uint32)
        half, quarter = count // 2, count // 4
        template = rng.random((half, PERMUTATIONS)) < 0.5
        signatures[:half] = np.where(template, signatures[0], signatures[:half])
        signatures[half + quarter :] = signatures[half : half + quarter]  # the same words in another order
        found = near_duplicate_groups([str(n) for n in range(count)], signatures, *NO_PICTURES)
        assert (found.group[half : half + quarter] == found.group[half + quarter :]).all()
    assert compared[2_000] > 2_000
    assert compared[16_000] < 12 * compared[2_000]  # 8 times the articles, 64 times the pairs


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs the real articles, which are not part of the project")
def test_near_duplicates_among_real_articles_are_those_of_exact_similarities():
    texts = []
    for path in sorted((REAL_DATA / "fakenewsnet_v1").glob("*/*/*/news content.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        texts.append(f"{content['title']} {content['text']}".strip())
    words = [re.sub(r"[\W_]+", " ", text.casefold()).split() for text in texts]
    long = [n for n in range(len(texts)) if len(words[n]) >= 3]
    shingles = {n: threes(words[n]) for n in long}
    similar = {}
    for left, right in combinations(long, 2):
        both = len(shingles[left] & shingles[right])
        similar[left, right] = both / (len(shingles[left]) + len(shingles[right]) - both)
    found = find_groups([texts[n] for n in long]).group
    number = dict(zip(long, found.tolist(), strict=True))
    sure = [
        pair for pair, similarity in similar.items() if similarity > MIN_SIMILARITY + 0.15
    ]  # beyond three deviations
    assert len(sure) > 30
    assert all(number[left] == number[right] for left, right in sure)
    possible = networkx.Graph([pair for pair, similarity in similar.items() if similarity > MIN_SIMILARITY - 0.15])
    for group in as_sets(found):
        members = [long[place] for place in group]
        assert len(members) == 1 or set(members) <= networkx.node_connected_component(possible, members[0])


def test_signatures_may_lie_in_a_file(tmp_path):
    texts = different_texts(20) + different_texts(20)[:3]
    signatures = np.array([minhash_signature(text) for text in texts])
    np.save(tmp_path / "signatures.npy", signatures)
    mapped = np.load(tmp_path / "signatures.npy", mmap_mode="r")
    keys = [str(n) for n in range(23)]
    expected = near_duplicate_groups(keys, signatures, *NO_PICTURES)
    assert near_duplicate_groups(keys, mapped, *NO_PICTURES).group.tolist() == expected.group.tolist()
    assert expected.near_texts == 6


@pytest.mark.parametrize("changes", [1, 2])
def test_an_edited_story_of_another_publisher_is_a_near_duplicate(changes):
    rng = np.random.default_rng(7)
    words = draw_words(rng, 25)
    assert find_groups([" ".join(words), "Update: " + " ".join(edited(rng, words, changes))]).near_texts == 2


def test_copies_of_known_texts_are_those_of_brute_force_over_the_shingles():
    rng = np.random.default_rng(5)
    known = [draw_words(rng, 60) for _ in range(100)]
    texts = [" ".join(known[n][: 20 + n] if n % 2 else draw_words(rng, 60)) for n in range(40)]
    texts += ["one word", "", " ".join(known[50]).upper() + "!"]
    known = [" ".join(words) for words in known]

    def compact(texts):
        return compact_signatures([text_key(text) for text in texts], np.array([minhash_signature(t) for t in texts]))

    def shingles(text):
        words = text.lower().strip("!").split()
        return {tuple(words[n : n + 3]) for n in range(len(words) - 2)}

    def most_alike(text):
        own = shingles(text)
        return max(len(own & shingles(other)) / len(own | shingles(other)) for other in known)

    assert compact(texts).shape == (43, 144)
    found = find_copies(compact(texts), compact(known))
    for text, copied in zip(texts, found, strict=True):
        similarity = most_alike(text)
        if abs(similarity - MIN_SIMILARITY) > 0.13:  # three standard deviations of the estimate
            assert copied == (similarity > MIN_SIMILARITY), (text, similarity)
    assert find_copies(compact(texts), compact(known)[:0]).sum() == 0
