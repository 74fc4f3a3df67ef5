"""Small copies of public data sets in the form in which they are published: made-up words and pictures."""

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WORDS = (
    "anchor barley candle dolphin ember fjord garden harvest island jacket kettle lantern meadow nickel orchard pepper "
    "quarry ribbon saddle timber umbrella velvet willow yonder zephyr basket copper driftwood engine feather glacier "
    "hammer ivory juniper kingdom ladder marble needle oyster parrot quilt rocket sparrow tunnel urchin violin walnut"
)
SYLLABLES = "晨雨松石湖岸灯塔帆影麦田铁桥纸鸢苔藓陶罐风铃云梯竹林砂砾钟楼棉布茶壶雪原渔网"


@dataclass
class Published:
    """A copy of a data set, and what stands in it, counted while it was written."""

    overrides: list[str]  # as its YAML tells the user to give them
    rows: int = 0  # articles, over all its files
    unusable: dict[str, int] = field(default_factory=dict)  # articles that cannot be used, by the reason
    pictures: dict[str, int] = field(default_factory=dict)  # number of pictures of each article with a text, by its id
    labels: dict[str, int] = field(default_factory=dict)  # 1 = fake, by id
    sides: dict[str, str] = field(default_factory=dict)  # train, val or test, by id; empty where none is published

    def add(self, article_id: str, label: int, pictures: int, side: str | None = None) -> None:
        self.rows += 1
        self.pictures[article_id] = pictures
        self.labels[article_id] = label
        if side is not None:
            self.sides[article_id] = side

    def lose(self, reason: str) -> None:
        self.rows += 1
        self.unusable[reason] = self.unusable.get(reason, 0) + 1


def sentence(number: int, length: int = 14) -> str:
    return " ".join(random.Random(number).choices(WORDS.split(), k=length))


def sentence_in_han(number: int, length: int = 24) -> str:
    return "".join(random.Random(number).choices(SYLLABLES, k=length)) + "。"


def draw(path: Path, number: int) -> None:
    """Draw a picture that looks like no other: 4 x 4 fields of random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(fields).resize((64, 64), Image.Resampling.NEAREST).save(path)


def write_table(path: Path, rows: Sequence[dict[str, Any]], **dialect: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), **dialect)
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_fakeddit(root: Path) -> Published:
    """Write three quoted tables, and <id>.jpg; a row without a picture, a cell with quotation marks in it."""
    names = {"train": "multimodal_train", "val": "multimodal_validate", "test": "multimodal_test_public"}
    images = root / "public_image_set"
    made = Published(
        ["data=fakeddit", f"data.root={root / names['train']}.tsv", f"data.val_root={root / names['val']}.tsv",
         f"data.test_root={root / names['test']}.tsv", f"data.images={images}"]
    )  # fmt: skip
    number = 0
    for side, name in names.items():
        rows = []
        for _ in range({"train": 16, "val": 6, "test": 8}[side]):
            article_id, true = f"c{number:04x}", number % 2
            pictured = number != 3
            title = f'{sentence(number)} "as they say" today' if number == 4 else sentence(number)
            rows.append(
                {"author": "a", "clean_title": title, "created_utc": 1500000000.0 + 86400 * number,
                 "domain": "i.example.invalid", "hasImage": pictured, "id": article_id,
                 "image_url": f"https://images.invalid/{article_id}.jpg", "linked_submission_id": "",
                 "num_comments": 3.0, "score": 7, "subreddit": ("jokes", "photos")[true], "title": title.title(),
                 "upvote_ratio": 0.9, "2_way_label": true, "3_way_label": 0 if true else 2,
                 "6_way_label": 0 if true else 4}
            )  # fmt: skip
            if pictured:
                draw(images / f"{article_id}.jpg", number)
            made.add(article_id, 1 - true, int(pictured), side)
            number += 1
        write_table(root / f"{name}.tsv", rows, delimiter="\t")
    return made


def write_mediaeval(root: Path) -> Published:
    """Write unquoted tables; two pictures in a cell, a picture of two tweets, a lone quotation mark, no picture."""
    made = Published(
        ["data=mediaeval", f"data.root={root / 'devset' / 'tweets.txt'}",
         f"data.test_root={root / 'testset' / 'tweets.txt'}", f"data.images={root / 'images'}"]
    )  # fmt: skip
    number = 0
    for side, count in (("train", 24), ("test", 8)):
        lines = ["tweetId\ttweetText\tuserId\timageId(s)\tusername\ttimestamp\tlabel"]
        for _ in range(count):
            label = ("fake", "real", "real", "humor")[number % 4]
            names = [f"flood_{label}_{number:02d}"]
            if number % 5 == 0:
                names.append(f"flood_{label}_{number:02d}b")
            if number == 2:
                names = ["flood_real_01"]  # the picture of the tweet before
            for position, name in enumerate(names):
                if number not in (2, 7):
                    ending = ".png" if number % 3 else ".jpg"
                    draw(root / "images" / f"{name}{ending}", 100 + 40 * position + number)
            text = f'"{sentence(100 + number)}' if number in (6, 12) else sentence(100 + number)
            cells = [str(4000 + number), text, "9", ",".join(names), f"user{number}", "Mon Oct 29 22:34:01 +0000 2012"]
            lines.append("\t".join([*cells, label]))
            made.add(str(4000 + number), int(label != "real"), 0 if number == 7 else len(names), side)
            number += 1
        path = root / f"{'devset' if side == 'train' else 'testset'}" / "tweets.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def write_weibo(root: Path) -> Published:
    """Write three lines a post, in Chinese; class and side by file, several pictures, one that is missing, no text."""
    made = Published(["data=weibo", f"data.root={root}"])
    number = 0
    for side in ("train", "test"):
        for kind in ("rumor", "nonrumor"):
            lines = []
            for position in range(12 if side == "train" else 4):
                article_id = f"{number:04d}abc"
                names = [f"{article_id}_{picture}.jpg" for picture in range(1 + number % 3)]
                missing = {names[-1]} if position == 2 else set()
                for picture, name in enumerate(names):
                    if name not in missing:
                        draw(root / f"{kind}_images" / name, 200 + 4 * number + picture)
                head = [article_id, "name", "http://posts.invalid/1", "null", "2013-05-06 10:11", "true", *"0101", "0"]
                lines.append("|".join([*head, "5", "7", "9", "app"]))
                lines.append("|".join([*(f"http://pictures.invalid/large/{name}" for name in names), "null"]))
                lines.append("" if position == 3 else sentence_in_han(number))
                made.add(article_id, int(kind == "rumor"), len(names) - len(missing), side)
                number += 1
            path = root / "tweets" / f"{side}_{kind}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def write_dgm4(root: Path) -> Published:
    """Write arrays of pairs whose id occurs twice; kinds of manipulation, alone and joined."""
    metadata = root / "DGM4" / "metadata"
    made = Published(
        ["data=dgm4", f"data.root={metadata / 'train.json'}", f"data.val_root={metadata / 'val.json'}",
         f"data.test_root={metadata / 'test.json'}", f"data.images={root}"]
    )  # fmt: skip
    number = 0
    for side, count in (("train", 16), ("val", 6), ("test", 8)):
        pairs = []
        for position in range(count):
            kind = ("orig", "face_swap", "orig", "face_attribute&text_attribute", "text_swap")[number % 5]
            image = f"DGM4/{'origin/gardian/0001' if kind == 'orig' else 'manipulation/HFGI'}/{number}.jpg"
            draw(root / image, 400 + number)
            pairs.append(
                {"id": 7000 + number // 2, "image": image, "text": sentence(400 + number), "fake_cls": kind,
                 "fake_image_box": [1, 2, 3, 4], "fake_text_pos": [], "mtcnn_boxes": [[1, 2, 3, 4]]}
            )  # fmt: skip
            made.add(f"{side}/row {position + 1}", int(kind != "orig"), 1, side)
            number += 1
        write_json(metadata / f"{side}.json", pairs)
    return made


def write_mmfakebench(root: Path) -> Published:
    """Write an array whose paths begin with a slash, and whose labels are lists of one word."""
    folder = root / "MMFakeBench_val"
    table = folder / "source" / "MMFakeBench_val.json"
    made = Published(["data=mmfakebench", f"data.root={table}", f"data.images={folder}"])
    pairs = []
    for number in range(24):
        fake = number % 3 > 0
        image = f"/{'fake/dalle_val' if fake else 'real/bbc_val'}/{number}.{'png' if number % 4 else 'jpg'}"
        draw(folder / image.lstrip("/"), 500 + number)
        pairs.append(
            {"image_path": image, "text": sentence(500 + number), "fake_cls": "mismatch" if fake else "original",
             "gt_answers": ["Fake" if fake else "True"]}
        )  # fmt: skip
        made.add(f"row {number + 1}", int(fake), 1)
    write_json(table, pairs)
    return made


def write_newsclippings(root: Path) -> Published:
    """Write pairs of ids in VisualNews, whose captions and photographs stand in its data.json; two ids are unknown."""
    matches, origin = root / "news_clippings" / "data" / "merged_balanced", root / "visual_news" / "origin"
    made = Published(
        ["data=newsclippings", f"data.root={matches / 'train.json'}", f"data.val_root={matches / 'val.json'}",
         f"data.test_root={matches / 'test.json'}", f"data.visual_news={origin}"]
    )  # fmt: skip
    news, number = [], 0
    for side, count in (("train", 12), ("val", 4), ("test", 6)):
        pairs = []
        for position in range(count):  # two photographs with their captions, and a pair of either
            ids = 90000 + number, 90001 + number
            for article_id in ids:
                image = f"./bbc/images/0001/{article_id}.jpg"
                draw(origin / image, article_id)
                news.append(
                    {"id": article_id, "caption": sentence(article_id), "topic": "world", "source": "bbc",
                     "image_path": image, "article_path": f"./bbc/articles/0001/{article_id}.txt"}
                )  # fmt: skip
            for image_id, falsified in ((ids[0], False), (ids[1], True)):
                pairs.append({"id": ids[0], "image_id": image_id, "similarity_score": 0.8, "falsified": falsified})
                made.add(f"{ids[0]}-{image_id}", int(falsified), 1, side)
            number += 2
            if position == 1 and side == "train":
                pairs.append({"id": 5, "image_id": ids[0], "similarity_score": 0.8, "falsified": True})
                made.lose("id is not in VisualNews")
                pairs.append({"id": ids[1], "image_id": 6, "similarity_score": 0.8, "falsified": True})
                made.lose("id is not in VisualNews")
        write_json(matches / f"{side}.json", {"source_datasets": ["a", "b"], "annotations": pairs})
    write_json(origin / "data.json", news)
    return made


def write_recovery(root: Path) -> Published:
    """Write a quoted table with line breaks in its texts, labels by publisher, and pictures named by news_id."""
    images = root / "images"
    made = Published(["data=recovery", f"data.root={root / 'recovery-news-data.csv'}", f"data.images={images}"])
    rows = []
    for number in range(40):
        publisher = number % 20
        if number != 8:
            draw(images / f"{number}.jpg", 700 + number)
        rows.append(
            {"news_id": number, "url": f"https://news.invalid/{number}", "publisher": f"Paper {publisher}",
             "publish_date": f"2020-04-{1 + number % 28:02d}", "author": "['A B']", "title": sentence(700 + number, 6),
             "image": f"https://images.invalid/{number}.jpg",
             "body_text": f"{sentence(800 + number, 30)}\n\n{sentence(900 + number, 20)}, they said.",
             "political_bias": "Center", "country": "USA", "reliability": publisher % 2}
        )  # fmt: skip
        made.add(str(number), 1 - publisher % 2, int(number != 8))
    write_table(root / "recovery-news-data.csv", rows)
    return made


def write_gossipcop(root: Path) -> Published:
    """Write a Parquet table with addresses of pictures, none of which is there."""
    made = Published(["data=gossipcop", f"data.root={root / 'gossipcop.parquet'}"])
    rows = []
    for number in range(36):
        fake = number % 3 == 0
        source = f"site{number % 5}.invalid"
        rows.append(
            {"id": f"gossipcop-{number}", "label": "fake" if fake else "real", "title": sentence(1000 + number, 7),
             "text": sentence(1100 + number, 40), "source": source, "date": "2018-05-10",
             "url": f"{source}/{number}", "top_img": f"http://images.invalid/{number}.jpg"}
        )  # fmt: skip
        made.add(f"gossipcop-{number}", int(fake), 0)
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "gossipcop.parquet")
    return made


WRITERS: dict[str, Callable[[Path], Published]] = {
    "fakeddit": write_fakeddit,
    "mediaeval": write_mediaeval,
    "weibo": write_weibo,
    "dgm4": write_dgm4,
    "mmfakebench": write_mmfakebench,
    "newsclippings": write_newsclippings,
    "recovery": write_recovery,
    "gossipcop": write_gossipcop,
}
