"""The task that answers pictures on a web page of this machine: serve."""

from invoke import Context

from pipeline.cli.common import command, parse_number


@command(
    run="a finished run: its name or the beginning, latest (where not given), or best (with --comp)",
    host="listen on this address; 127.0.0.1, this machine alone, where not given",
    port="7860 where not given; 0 takes a free one",
)
def serve(
    _: Context, run: str | None = None, comp: str | None = None, host: str = "127.0.0.1", port: str = "7860"
) -> None:
    """Answer pictures with a run on a web page of this machine, and as JSON."""
    from pipeline.runs import load, predictor
    from pipeline.serving import app

    app.require_gradio()
    folder = load.find_run_folder(run or "latest", comp, predictor.has_model)
    app.serve_run(folder, host, parse_number(port, "--port"))
