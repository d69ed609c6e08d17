"""Replaces words in an image without a model, and writes images with new words to files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightweave.core import files, outputs
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion, read_regions
from sightweave.data.inputs import image_files
from sightweave.rendering.render import MIN_SIZE
from sightweave.rendering.render import render as render_regions
from sightweave.rendering.typefaces import Typeface
from sightweave.run import as_media

if TYPE_CHECKING:
    import PIL.Image

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def render(
    image: Any,
    regions: str | Sequence[TextRegion],
    *,
    font: str | Path | Sequence[str | Path] | Typeface = (),
    min_size: int = MIN_SIZE,
    out: str | Path | None = None,
) -> PIL.Image.Image:
    """Replaces words in an image: takes the old ones out of their regions and sets the new ones in.

    Pixels outside the regions, the size and the mode of the image do not change.

    Args:
        image: A path, a data URL, base64, bytes, an array or a Pillow image.
        regions: `TextRegion` objects, or their plain-text form, such as ``[120 45 310 80] Ausgang`` with the left, top,
            right and bottom edge in thousandths of the image's width and height.
        font: A font or several, tried in turn for each text: paths of files, or names such as ``DejaVu Serif Bold``. The
            default is DejaVu Sans, and an installed font for Chinese, Japanese and Korean.
        min_size: Minimum font size in pixels.
        out: PNG file to which the image is written too.

    Raises:
        DataError: A region is invalid or reaches outside the image, a text does not fit at the minimum size, or no font has
            all of its characters.
        MediaError: The image cannot be read, or words cannot be replaced in its mode.
        BackendError: A text needs Raqm, and Pillow was built without it.
        FolderError: `out` is a file that Sightweave did not write.
    """
    if out is not None:
        outputs.check_picture(Path(out))
    media = as_media(image)
    if len(media) != 1:
        raise DataError(f"render: {len(media)} images; give one.")

    found = read_regions(regions, "regions") if isinstance(regions, str) else tuple(regions)
    done = render_regions(image_files.picture(media[0]), found, font=font, min_size=min_size)
    if out is not None:
        write_png(done.picture, Path(out))
    return done.picture


def write_png(picture: PIL.Image.Image, path: Path) -> None:
    """Writes an image as a PNG file, without loss; modes that PNG does not have are converted to RGB.

    Raises:
        FolderError: The path is a folder, or a file that Sightweave did not write.
    """
    from PIL.PngImagePlugin import PngInfo

    outputs.check_picture(path)
    if picture.mode not in _PNG_MODES:
        picture = picture.convert("RGB")
    note = PngInfo()
    note.add_text(*outputs.SHEET)
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=note)
    files.write_bytes(path, stream.getvalue())
