"""Codebook of visual words: typical patches of the training pictures, found by k-means."""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from safe_exp.data.vectors import RANDOM_LENGTH
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file

ENCODE_CHUNK = 256  # pictures at a time; with 20 patches and 256 words 10 MB of distances
KMEANS_BATCH = 2048  # patches in a step of MiniBatchKMeans
KMEANS_PATIENCE = 10  # steps without an improvement after which it ends
STORED = ("centroids", "mean", "scale")  # the arrays that a file holds


class CodebookConfig(Protocol):
    """The settings of a captioner that describes patches, as far as the codebook depends on them."""

    name: str
    words: int  # V, at most
    sample_patches: int  # patches that the words are fitted to, at most
    n_init: int  # starts of k-means
    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class Codebook:
    """Visual words 1 to V, each the centre of a cluster of standardised descriptors; 0 stays padding."""

    centroids: np.ndarray  # (V, F) float32, standardised
    mean: np.ndarray  # (F,) float32, of the training patches
    scale: np.ndarray  # (F,) float32, their standard deviation; 1 for a feature that never changes
    settings: dict[str, Any]  # plain values: how the descriptors were made and the codebook was fitted

    def encode(self, descriptors: np.ndarray) -> np.ndarray:
        """Number the nearest visual word of each patch; of equally near words the first.

        Args:
            descriptors: (N, P, F) float32, possibly a memory map; read a few pictures at a time.
        Returns:
            (N, P) int32, from 1 to V.
        Raises:
            ValueError: the descriptors have another number of axes, or another F.
        """
        if descriptors.ndim != 3 or descriptors.shape[2] != len(self.mean):
            raise ValueError(f"descriptors {descriptors.shape}: expected (N, P, {len(self.mean)}).")
        from scipy.spatial.distance import cdist  # takes time to import, and most runs have no codebook

        words = np.empty(descriptors.shape[:2], dtype=np.int32)  # (N, P)
        for start in range(0, len(descriptors), ENCODE_CHUNK):
            chunk = np.asarray(descriptors[start : start + ENCODE_CHUNK])
            # A matrix product would be faster, but its rounding depends on the number of rows: a patch near the border
            # of two words would change its word with the pictures that are encoded beside it.
            distances = cdist(self._standardise(chunk.reshape(-1, chunk.shape[2])), self.centroids, "sqeuclidean")
            words[start : start + ENCODE_CHUNK] = distances.argmin(1).reshape(chunk.shape[:2]) + 1
        return words

    def vectors(self) -> np.ndarray:
        """Word vectors (V + 1, F) float32: row 0, padding, is zero; the others are the centroids, scaled.

        One factor brings them to a root-mean-square length of 1, for the reason given at RANDOM_LENGTH in
        data/vectors.py. The ratios between their distances stay.
        """
        length = np.sqrt(np.square(self.centroids, dtype=np.float64).sum(1).mean())
        table = np.zeros((len(self.centroids) + 1, len(self.mean)), dtype=np.float32)
        table[1:] = self.centroids * (RANDOM_LENGTH / length if length else 1.0)  # one word alone is the mean: 0
        return table

    def save(self, path: Path) -> None:
        """Write arrays and settings into one safetensors file, whole or not at all."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in STORED}
        with whole_file(path) as draft:
            save_file(arrays, draft, metadata={"settings": json.dumps(self.settings, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> "Codebook":
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing, damaged or no codebook.
        """
        if not Path(path).is_file():
            raise UserError(f"{path} is missing. Expected the codebook of a run of train; copy its artifacts/ again.")
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in STORED}
                settings = json.loads(file.metadata()["settings"])
            check_arrays(**arrays)
        except Exception as error:  # safetensors has an error of its own; a missing key or bad JSON is as bad
            raise UserError(f"{path}: the codebook cannot be read ({error}). Was the copy complete?") from error
        return cls(**arrays, settings=settings)

    def _standardise(self, patches: np.ndarray) -> np.ndarray:
        return (patches - self.mean) / self.scale


def fit_codebook(descriptors: np.ndarray, rows: np.ndarray, config: CodebookConfig, seed: int) -> Codebook:
    """Fit the words to patches of the training pictures; the same pictures and seed give the same words, bit for bit.

    Args:
        descriptors: (N, P, F) float32 of all pictures, possibly a memory map; only the sampled patches are read.
        rows: indices of the training pictures, (n,) int64, in any order; a repeated one counts once.
        config: settings of a captioner that describes patches.
    Raises:
        UserError: there is no training picture.
    """
    from sklearn.cluster import MiniBatchKMeans  # takes a second to import; reading a codebook needs none of it
    from sklearn.exceptions import ConvergenceWarning

    rows = np.unique(rows)
    if not len(rows):
        raise UserError(f"captioner={config.name}: there is no training picture to find visual words in.")
    random = np.random.default_rng(seed)
    sample = _sample_patches(descriptors, rows, config.sample_patches, random)  # (M, F)
    mean, scale = sample.mean(0, dtype=np.float64), sample.std(0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    sample = (sample - mean) / scale
    kmeans = MiniBatchKMeans(
        n_clusters=min(config.words, _count_distinct(sample, config.words)),
        n_init=config.n_init,
        batch_size=KMEANS_BATCH,
        max_no_improvement=KMEANS_PATIENCE,
        random_state=int(random.integers(2**31)),
    )
    # One thread: several add up in the order in which they end, and another start of k-means may win.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="MiniBatchKMeans is known to have a memory leak")
        kmeans.fit(sample)
        used = np.unique(kmeans.predict(sample))  # a cluster that no patch is in would be a word that never occurs
    shaping = {key: value for key, value in asdict(config).items() if key not in ("name", "batch_size")}
    settings = shaping | {"seed": seed}
    return Codebook(kmeans.cluster_centers_[used].astype(np.float32), mean, scale, settings)


def _sample_patches(descriptors: np.ndarray, rows: np.ndarray, limit: int, random: np.random.Generator) -> np.ndarray:
    """Draw at most `limit` patches of the pictures `rows`: (M, F) float32, in the order in which they lie on disk."""
    patches = descriptors.shape[1]
    total = len(rows) * patches
    picked = np.arange(total)
    if total > limit:
        picked = np.sort(random.choice(total, limit, replace=False))
    return np.asarray(descriptors[rows[picked // patches], picked % patches], dtype=np.float32)


def _count_distinct(sample: np.ndarray, enough: int) -> int:
    """Count the different patches in a sample (M, F), no further than `enough`."""
    distinct: set[bytes] = set()
    for patch in sample:
        distinct.add(patch.tobytes())
        if len(distinct) >= enough:
            break
    return len(distinct)


def check_arrays(centroids: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> None:
    """Refuse arrays that cannot be a codebook: centroids (V, F), mean (F,), scale (F,), all float32.

    Raises:
        ValueError: the shapes do not belong together, a number is not finite float32, or a scale is not above 0.
    """
    if centroids.ndim != 2 or not len(centroids) or mean.shape != (centroids.shape[1],) or scale.shape != mean.shape:
        raise ValueError(f"sizes {centroids.shape}, {mean.shape} and {scale.shape} do not belong together")
    for array in (centroids, mean, scale):
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError("expected finite float32 numbers")
    if not (scale > 0).all():
        raise ValueError("expected scales above 0")
