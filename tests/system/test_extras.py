import pytest

from safe_exp.system.errors import UserError
from safe_exp.system.extras import require_extra


def test_a_package_that_is_missing_is_told_with_the_command_that_installs_it():
    require_extra("data.words=jieba", "json", "jieba", "Or take another.")
    with pytest.raises(UserError) as refused:
        require_extra("data.words=jieba", "no_such_package", "jieba", "Or take another.")
    assert str(refused.value) == (
        "data.words=jieba needs the package no_such_package, which is not installed: "
        'pip install "safe-exp[jieba]". Or take another.'
    )
