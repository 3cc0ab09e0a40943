"""A plain page that lists the HTTP interface, readable without a network."""

from typing import Any

from jinja2 import Environment

_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ info.title }}: HTTP interface</title>
<meta name="color-scheme" content="light dark"><meta name="viewport" content="width=device-width"></head>
<body>
<h1>{{ info.title }} {{ info.version }}: HTTP interface</h1>
<p>{{ info.description }}</p>
<p>Everything in detail, for tools: <a href="openapi.json">openapi.json</a>.</p>
{% for tag in tags %}
<h2>{{ tag.name }}</h2>
<p>{{ tag.description }}</p>
<dl>
{% for method, path, operation in operations if tag.name in operation.tags %}
<dt><code>{{ method }} {{ path }}</code></dt>
<dd>{{ operation.summary }}.
{% for parameter in operation.parameters %}
<code>{{ parameter.name }}</code>{{ ": " ~ parameter.description if parameter.description else "" }}{{
"" if loop.last else "; " }}
{% endfor %}
</dd>
{% endfor %}
</dl>
{% endfor %}
</body></html>
"""
)


def api_page(schema: dict[str, Any]) -> str:
    """The page of an OpenAPI description."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return _PAGE.render(info=schema["info"], tags=schema["tags"], operations=operations)
