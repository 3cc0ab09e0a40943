"""`advcam studio`: a local page for looking at a run and mending it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from advcam.cli.folders import LocalPath
from advcam.errors import counted

if TYPE_CHECKING:
    from advcam.pipeline.config import ModelSettings


def studio(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    model: str | None = None,
    weights: Path | None = None,
    class_names: Path | None = None,
    device: str = "cpu",
    upload_limit: int = 32,
    out: LocalPath = Path("advcam-studio"),
    open_: Annotated[bool, Parameter("--open")] = False,
    quiet: bool = False,
) -> int:
    """Look at a run in the browser: the doubtful pictures first, maps and thresholds to move, masks to mend.

    Only this machine can reach the page, unless --host says otherwise; then visitors need a token. Ctrl-C ends it.

    Args:
        run: Folder of localize, predict or run, or a folder of pictures.
        host: Address to listen on: 0.0.0.0 for everybody in the network.
        port: 0 takes any that is free.
        token: That visitors need; made up where others can reach the page.
        model: Classifier of live climbs, see `advcam models`; that of the run when left away.
        weights: safetensors or PyTorch file (tensors only).
        class_names: Text file, one name a line.
        device: Of live climbs: cpu, cuda, cuda:1, mps.
        upload_limit: Megabytes that a dropped picture may have.
        out: Where the work on a folder of pictures is kept; that on a run is kept in the run.
        open_: Open the page in the browser.
        quiet: Print nothing but the address.
    """
    from advcam.pipeline.album import open_album
    from advcam.studio.access import checked_access
    from advcam.studio.serving import address, listen, serve
    from advcam.studio.studio import Studio

    shown = Studio(lambda: open_album(run, out), _model(model, weights, class_names), device, upload_limit * 2**20)
    console = Console(highlight=False, markup=False, emoji=False)
    with listen(host, port) as socket:
        access = checked_access(host, socket.getsockname()[1], token)
        page = address(socket, access)
        if not quiet:
            console.print(f"{shown.album.title}: {counted(len(shown.album.samples), 'picture')}", soft_wrap=True)
        console.print(page, soft_wrap=True)
        if not quiet:
            console.print("Ctrl-C ends it", soft_wrap=True)
        try:
            serve(shown, access, socket, page if open_ else None)
        finally:
            if not quiet:
                kept = shown.album.corrections.folder
                console.print(f"ended; corrections are in {kept}" if kept.is_dir() else "ended", soft_wrap=True)
    return 0


def _model(model: str | None, weights: Path | None, class_names: Path | None) -> "ModelSettings | None":
    """The classifier that was asked for; None where none was."""
    from advcam.errors import SettingError
    from advcam.pipeline.config import ModelSettings

    if model is None:
        if weights is not None or class_names is not None:
            raise SettingError("--weights and --class-names belong to a network; name it with --model")
        return None
    return ModelSettings(model=model, weights=weights, class_names=class_names)
