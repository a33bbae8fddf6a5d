"""Where a run comes from: the command that repeats it, and its recipe with every default."""

from pipeline.run_report.provenance import build_commands, build_files, build_recipe, build_run_command
from pipeline.runs.load import load_run
from tests.written import written


def command_of(**recipe):
    return build_run_command(load_run(written(**recipe)), "mine")


def test_a_recipe_as_it_ships_needs_no_flag():
    assert command_of() == "invoke run --comp mine"


def test_what_differs_from_the_recipe_is_a_flag():
    command = command_of(bases=("resnet50", "xception"), l2=3e-5, grouping="estimated")
    assert command == "invoke run --comp mine --base resnet50 --base xception --set l2=3e-05 --grouped"


def test_folds_that_were_left_out_are_left_out_again():
    assert command_of(folds=(1,)).endswith("--fold 1")


def test_a_field_without_a_flag_is_set_by_its_name():
    assert command_of(views=("plain", "rotate90")).endswith("--set views=plain,rotate90")


def test_a_name_with_blanks_is_quoted():
    assert "--base 'resnet50=my file.h5'" in command_of(bases=("resnet50=my file.h5",))


def test_a_run_made_of_others_is_rebuilt():
    run = load_run(written())
    run.config["made_of"] = [{"run": "a"}]
    assert any(command.startswith("invoke ensemble --comp mine --rebuild") for command, _ in build_commands(run))


def test_the_recipe_of_a_network_has_every_default_in_its_place():
    rows = dict(build_recipe(load_run(written(strategy="finetune"))))
    assert rows["training.batch_size"] == "32" and rows["strategy"] == "finetune"


def test_the_report_is_not_among_the_files_that_it_lists():
    folder = written()
    (folder / "report.html").write_text("x")
    assert [file["name"] for file in build_files(folder)][:2] == ["config.json", "environment.json"]
    assert "report.html" not in [file["name"] for file in build_files(folder)]
