"""A diagnosis as one page of HTML that holds everything: no script, nothing from elsewhere."""

from importlib import resources

from keras_cnnfix.files import written_at_once
from keras_cnnfix.report import pictures
from keras_cnnfix.typing import FilePath


def write(diagnosis: pictures.Diagnosed, path: FilePath) -> None:
    """Writes the page of a `Diagnosis` to `path`, whole or not at all.

    Raises:
        ImportError: Jinja2 or matplotlib are missing.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "to_html: Jinja2 must be installed. Use: pip install 'keras_cnnfix[report]'."
        ) from error
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    page = environment.from_string(source).render(
        diagnosis=diagnosis, pictures=pictures.of(diagnosis), version=diagnosis.settings["version"]
    )
    with written_at_once(path) as part:
        part.write_text(page, encoding="utf-8")
