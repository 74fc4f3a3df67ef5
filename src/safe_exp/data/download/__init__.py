"""Download of images from their addresses: many at once, few from one host, each once.

The folder holds `<SHA-256 of the address>.<kind>` for each image, and `failures.jsonl`: the addresses that are not
worth another try, one JSON object a line. Delete a line, or the file, to have them tried again.
"""

from safe_exp.data.download.download import ImageRequest, download_images
from safe_exp.data.download.folder import Downloaded, DownloadFolder, Failed

__all__ = ["DownloadFolder", "Downloaded", "Failed", "ImageRequest", "download_images"]
