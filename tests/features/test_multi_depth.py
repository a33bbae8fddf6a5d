"""All cuts of a base in one pass: the same features as of each cut alone, in the same cache."""

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.features import multi_depth
from pipeline.features.extractor import Extractor
from pipeline.models.base import parse_base


def test_one_pass_gives_what_each_cut_alone_gives_and_the_cache_has_it(files):
    cuts = multi_depth.list_cuts(parse_base("mobilenet_025=none", 32))
    cuts = [cuts[3], cuts[-1]]
    digests = list(files)
    assert multi_depth.fill_feature_stores(cuts, files, digests[:3], "keras") == 3
    assert multi_depth.fill_feature_stores(cuts, files, digests, "keras") == 2
    assert multi_depth.fill_feature_stores(cuts, files, digests, "keras") == 0
    for cut in cuts:
        kept = Extractor(cut, files, wanted="keras")
        assert np.ptp(kept.features(digests, "plain")) > 0 and kept.computed == 0
    alone = Extractor(cuts[0], files, wanted="keras", force=True)
    cached = Extractor(cuts[0], files, wanted="keras").features(digests, "plain")
    np.testing.assert_allclose(alone.features(digests, "plain"), cached, rtol=1e-4, atol=1e-5)
    assert alone.computed == 5


def test_a_higher_cut_is_never_said_to_be_faster(monkeypatch):
    cuts = multi_depth.list_cuts(parse_base("mobilenet_025=none", 32))
    speeds = multi_depth.measure_speeds([cuts[0], cuts[-1]])
    assert speeds == sorted(speeds, reverse=True) and speeds[-1] > 0
    monkeypatch.setattr(multi_depth, "_time_cuts", lambda bases: pytest.fail("measured again"))
    assert multi_depth.measure_speeds([cuts[0], cuts[-1]]) == speeds


def test_only_a_whole_base_has_blocks_to_compare():
    with pytest.raises(StarshiftError, match="whole base"):
        multi_depth.list_cuts(parse_base("mobilenet_025@conv_pw_3_relu=none", 32))
