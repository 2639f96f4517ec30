"""Check the links of the built pages, offline: those within lead somewhere, others have an address.

python docs/links.py build/docs
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ATTRIBUTES = ("href", "src", "poster")
ELSEWHERE = {"mailto", "data", "javascript"}


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        """Collect what a tag leads to and the names it may be reached by."""
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        self.links += [values[key] for key in ATTRIBUTES if values.get(key)]


def faults(folder: Path) -> list[str]:
    """List the links that lead nowhere, with the page that has them."""
    folder = folder.resolve()
    files = [file for file in folder.rglob("*.html") if "_static" not in file.parts]  # the theme's
    pages, missing = {file: Page(file.read_text("utf-8")) for file in files}, set()
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ELSEWHERE:
                continue
            if parts.scheme or parts.netloc:
                reached = parts.scheme in ("http", "https") and "." in parts.netloc.strip(".")
            else:
                target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
                target = target / "index.html" if target.is_dir() else target
                reached = target.is_file()
                if target in pages:
                    reached = unquote(parts.fragment) in pages[target].anchors
            if not reached:
                missing.add(f"{file.relative_to(folder)}: {link}")
    return sorted(missing)


if __name__ == "__main__":
    messages = faults(Path(sys.argv[1]))
    print("\n".join(messages) or "links: all lead somewhere")
    sys.exit(bool(messages))
