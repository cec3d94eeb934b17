"""One HTML file of the parts: Jinja with autoescape, everything inlined, a policy that forbids connections.

Text from file names and configs reaches the page as text only: escaped by Jinja in the markup, as JSON without angle
brackets for the script, which writes it with `textContent`.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from lowres_ssl.errors import ConfigError

SCRIPT_FILES = ("plots.js", "card.js", "map.js", "page.js")  # in this order


def read_template(name: str) -> str:
    return files("lowres_ssl.reporting.html").joinpath("templates", name).read_text(encoding="utf-8")


def check_report_libraries() -> None:
    """Raises `ConfigError` if what the report is made with is not there."""
    missing = [name for name in ("jinja2", "plotly") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"report: needs {' and '.join(missing)}; type pip install 'lowres-ssl[report]'")


def read_plotly_script() -> str:
    """plotly.js, 4.8 MB: the one bundle that comes with the Python package."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def hash_script(script: str) -> str:
    """How a Content-Security-Policy names an inline script that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def build_security_policy(scripts: list[str]) -> str:
    """Nothing may be fetched or sent; of scripts only these run. Images are those in the file."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(hash_script, scripts))}",
            "style-src 'unsafe-inline'",
            "img-src data:",
            "connect-src 'none'",
            "form-action 'none'",
            "base-uri 'none'",
        ]
    )


def render_page(parts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """`parts`: what the template shows. `data`: what the script reads, plain data. The same give the same text."""
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [read_plotly_script(), "\n".join(read_template(name) for name in SCRIPT_FILES)]
    return environment.get_template("page.html.jinja").render(
        **parts,
        policy=build_security_policy(scripts),
        style=read_template("page.css"),
        scripts=scripts,
        data=htmlsafe_json_dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False),
    )
