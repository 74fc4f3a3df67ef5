from safe_exp.system.errors import MOST_CHARACTERS, first_line


def test_an_error_in_one_line_is_its_first_one_or_its_name():
    assert first_line(ValueError("\n no such key\nfurther words")) == "no such key"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError(" \n")) == "ValueError"
    assert len(first_line(ValueError("x" * 1000))) == MOST_CHARACTERS
