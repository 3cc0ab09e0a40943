"""Pages from templates: one HTML file that needs nothing else, written piece by piece and whole or absent."""

import io

from jinja2 import Environment, PackageLoader, StrictUndefined

from advcam.store.files import replacing
from advcam.store.places import Place


def render(path: Place, template: str, **values: object) -> None:
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
    # A file name that is not valid Unicode holds lone surrogates: they are shown as \\udc.. .
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="\n")
        text.writelines(chunks)
        text.detach()
