"""Time to the first answer, answers per second and memory of a stored run: python -m benchmarks.predict

A run is trained on the built-in articles at the sizes of conf/. `python -m safe_exp.predict` then reads JSON lines of
300 words and a caption. The first answer is timed from the start of the process, and the other lines are sent after it.
Memory is the peak of the process, for 1,000 articles and for all of them: it must not grow with their number.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measure import machine, table

TEXT_WORDS, TITLE_WORDS, CAPTION_WORDS = 300, 12, 10
FEW_ARTICLES = 1_000


class Measured(NamedTuple):
    """The time and memory that a process took."""

    first_seconds: float  # from the start of the process to the first answer
    per_second: float  # answers after it
    processor_seconds: float  # of the whole process; other work of the machine does not count
    peak_megabytes: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--articles", type=int, default=10_000)
    parser.add_argument("--train", type=int, default=800, help="articles that the run is trained on (default 800)")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="safe_exp-predict-"))
    try:
        for name, settings in (("words", []), ("patches", ["captioner=visual_words"])):
            more = [f"data.articles={chosen.train}", "trainer.max_epochs=2", "logger=none", f"hydra.run.dir={name}"]
            run_command(folder, "train", *settings, *more)
            run_command(folder, "export", f"run={name}", f"to={name}.safetensors")
        print(f"{machine()}; {chosen.articles:,} articles of {TEXT_WORDS} words\n", flush=True)
        print(report(folder, chosen.articles), f"\n{machine()}", sep="\n")
    finally:
        shutil.rmtree(folder)


def report(folder: Path, articles: int) -> str:
    """Measure each case, and format the table."""
    words = list(json_lines(folder, articles, images=False))
    pictures = list(json_lines(folder, articles // 10, images=True))
    few = words[: min(FEW_ARTICLES, articles)]
    cases = [
        ("captions", "words", few, []),
        ("captions", "words", words, []),
        ("captions, from one file", "words.safetensors", words, []),
        ("captions, explain=true", "words", words, ["explain=true"]),
        ("visual words from images", "patches", pictures, [f"images={folder}"]),
    ]
    rows = []
    for name, run, lines, settings in cases:
        found = measure(folder, lines, f"run={run}", *settings)
        rows.append([name, f"{len(lines):,}", f"{found.first_seconds:.1f} s", f"{found.per_second:,.0f}",
                     f"{found.processor_seconds:.1f} s", f"{found.peak_megabytes:,.0f} MB"])  # fmt: skip
    return table(["", "articles", "first answer", "answers a second", "processor time", "peak memory"], rows)


def json_lines(folder: Path, count: int, images: bool) -> Iterator[bytes]:
    """Yield articles as JSON lines, with words drawn from the built-in articles by their frequency."""
    articles = sorted(path.parent for path in folder.glob("data/synthetic/*/*/*/news_article.json"))
    content = [json.loads((path / "news_article.json").read_text(encoding="utf-8")) for path in articles]
    words = [word for article in content for word in f"{article['title']} {article['text']}".split()]
    random = np.random.default_rng(0)
    for number in range(count):
        drawn = random.choice(words, TITLE_WORDS + TEXT_WORDS + CAPTION_WORDS)
        title, text, caption = np.split(drawn, [TITLE_WORDS, TITLE_WORDS + TEXT_WORDS])
        line = {"id": f"a{number}", "title": " ".join(title), "text": " ".join(text)}
        if images:
            image = next(articles[number % len(articles)].glob("image.*"))
            line["image"] = str(image.relative_to(folder))
        else:
            line["caption"] = " ".join(caption)
        yield json.dumps(line).encode() + b"\n"


def measure(folder: Path, lines: Sequence[bytes], *settings: str) -> Measured:
    """Let predict answer the lines.

    Raises:
        RuntimeError: it failed, or left a line without an answer.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.predict", *settings],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.stdin.write(lines[0])
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline())]
    first = time.perf_counter()

    def send() -> None:
        for line in lines[1:]:
            process.stdin.write(line)
        process.stdin.close()

    sender = threading.Thread(target=send)
    sender.start()
    answers += [json.loads(line) for line in process.stdout]
    last = time.perf_counter()
    sender.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    errors = [answer for answer in answers if "error" in answer]
    if process.returncode or errors or len(answers) != len(lines):
        raise RuntimeError(f"predict {settings}: {len(answers)} answers to {len(lines)} lines, {errors[:1]}")
    busy = usage.ru_utime + usage.ru_stime
    return Measured(first - start, (len(lines) - 1) / (last - first), busy, usage.ru_maxrss / 1024)


def run_command(folder: Path, name: str, *settings: str) -> None:
    """Run a command of safe_exp.

    Raises:
        RuntimeError: it failed; the message is its standard error.
    """
    module = [sys.executable, "-m", f"safe_exp.{name}", *settings]
    done = subprocess.run(module, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


if __name__ == "__main__":
    main()
