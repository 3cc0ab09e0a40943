"""Pages from templates: one HTML file that needs nothing else, written piece by piece and whole or absent."""

from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from advcam.errors import RunError, one_line


def render(path: Path, template: str, **values: object) -> None:
    """Write a page.

    Values that are generators are taken one by one, so memory does not grow with their number.

    Args:
        path: Of the page; it appears only when it is complete.
        template: Name of the template beside this file.
        values: What it shows.

    Raises:
        RunError: The file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("advcam.report", package_path=""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["score"] = "{:.2f}".format
    chunks = environment.get_template(template).generate(**values)
    partial = path.with_name(path.name + ".partial")
    try:
        # A file name that is not valid Unicode holds lone surrogates: they are shown as \\udc.. .
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(chunks)
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write the report {path}: {one_line(error)}; free the disk or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
