"""torch is imported by rnncore.torch alone, and where it is missing the error says what to install."""

from support import run_python


def test_rnncore_does_not_import_torch():
    run_python("import sys, rnncore; assert 'torch' not in sys.modules; rnncore.LSTM(2, 3)\n"
               "assert 'torch' not in sys.modules and 'rnncore.torch' not in sys.modules")


def test_the_room_is_an_attribute():
    run_python("import rnncore as rc, torch; assert rc.torch.LSTM(2, 3)(torch.ones(4, 1, 2))[0].shape == (4, 1, 3)")


def test_without_torch_the_error_says_what_to_install():
    done = run_python("import sys; sys.modules['torch'] = None\nimport rnncore\n"
                      "try:\n    import rnncore.torch\nexcept ImportError as error:\n    print(error)")
    assert "pip install 'rnncore[torch]'" in done.stdout


def test_another_missing_module_is_not_taken_for_torch(tmp_path):
    (tmp_path / "torch.py").write_text("import missing_part_of_torch\n", encoding="utf-8")
    done = run_python(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
                      "try:\n    import rnncore.torch\nexcept ImportError as error:\n    print(error)")
    assert done.stdout == "No module named 'missing_part_of_torch'\n"


def test_from_rnncore_import_all_works_without_torch():
    run_python("import sys; sys.modules['torch'] = None\nfrom rnncore import *\nLSTM(2, 3)")
