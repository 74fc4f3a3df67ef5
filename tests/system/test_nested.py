from safe_exp.system.nested import flat, walk

SETTINGS = {"seed": 0, "model": {"alpha": 0.6, "filter_sizes": [3, 4], "inner": {"a": None}}, "scheduler": {}}


def test_values_are_found_by_dotted_key_and_an_empty_section_has_none():
    expected = {"seed": 0, "model.alpha": 0.6, "model.filter_sizes": [3, 4], "model.inner.a": None}
    assert flat(SETTINGS) == expected


def test_sections_are_walked_before_what_is_in_them():
    keys = [key for key, _ in walk(SETTINGS)]
    assert keys == ["seed", "model", "model.alpha", "model.filter_sizes", "model.inner", "model.inner.a", "scheduler"]
