from safe_exp.system.nested import flat, walk

SETTINGS = {"seed": 0, "model": {"alpha": 0.6, "filter_sizes": [3, 4], "inner": {"a": None}}, "scheduler": {}}


def test_flat_gives_values_by_dotted_key_and_none_for_an_empty_section():
    expected = {"seed": 0, "model.alpha": 0.6, "model.filter_sizes": [3, 4], "model.inner.a": None}
    assert flat(SETTINGS) == expected


def test_walk_yields_a_section_before_its_keys():
    keys = [key for key, _ in walk(SETTINGS)]
    assert keys == ["seed", "model", "model.alpha", "model.filter_sizes", "model.inner", "model.inner.a", "scheduler"]
