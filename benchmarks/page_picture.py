"""Takes a picture of a page in Chromium: of a report, or of `invoke serve` with an answer on it.

    PYTHONPATH=.venv/serve python -m benchmarks.page_picture --address file:///FOLDER/report.html --out report.png
    invoke serve --run latest --port 7860 &
    PYTHONPATH=.venv/serve python -m benchmarks.page_picture --image dog.jpg --out page.png

Needs Playwright, which `make test-serve` installs into .venv/serve.
"""

import argparse
import importlib
import io
import shutil

from PIL import Image


def take_picture(address: str, images: list[str], out: str, width: int, height: int, theme: str) -> None:
    """Opens a page and takes a picture of it; sends it pictures first, and waits for their answers."""
    playwright = importlib.import_module("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        page.goto(address)
        if images:
            page.wait_for_selector("input[type=file]", state="attached", timeout=60_000)
            page.set_input_files("input[type=file]", images)
            page.wait_for_function(f"document.querySelectorAll('.answer').length == {len(images)}", timeout=60_000)
            page.wait_for_selector("input[type=file]", state="attached", timeout=60_000)
        page.wait_for_timeout(1000)  # the progress bar fades
        shown = page.screenshot(full_page=bool(images))
        opened.close()
    with Image.open(io.BytesIO(shown)) as picture:  # 256 colours take half of the bytes
        picture.convert("RGB").quantize(256).save(out, "PNG", optimize=True)


def main() -> None:
    """Runs as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://127.0.0.1:7860")
    parser.add_argument("--image", action="append", default=[])
    parser.add_argument("--out", default="page.png")
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=400)
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    flags = parser.parse_args()
    take_picture(flags.address, flags.image, flags.out, flags.width, flags.height, flags.theme)


if __name__ == "__main__":
    main()
