from safe_exp.system.errors import MOST_CHARACTERS, first_line


def test_first_line_is_the_first_line_of_a_message_or_the_name_of_the_error():
    assert first_line(ValueError("\n no such key\nfurther words")) == "no such key"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError(" \n")) == "ValueError"
    assert len(first_line(ValueError("x" * 1000))) == MOST_CHARACTERS
