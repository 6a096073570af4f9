"""Who plays a stream is known for as long as they say so."""

from hypothesis import given
from hypothesis import strategies as st

from veza.actors.ingest.followers import FOLLOWED_S, Followers

STREAMS, GATEWAYS = st.sampled_from(["s1", "s2"]), st.sampled_from(["g1", "g2", "g3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("follow"), STREAMS, GATEWAYS, st.booleans()),
        st.tuples(st.just("wait"), st.floats(0, FOLLOWED_S)),
        st.tuples(st.just("lost"), GATEWAYS),
        st.tuples(st.just("ended"), STREAMS),
        st.tuples(st.just("forget")),
    ),
    max_size=40,
)


@given(STEPS)
def test_followers_are_those_who_said_so_lately(steps: list[tuple[object, ...]]) -> None:
    followers, now = Followers(), 0.0
    model: dict[tuple[str, str], tuple[float, bool]] = {}
    for step in steps:
        match step:
            case ("follow", str(stream), str(gateway), bool(mirror)):
                before = model.get((stream, gateway))
                known = before is not None and before[0] > now and before[1]
                assert followers.follow(stream, gateway, now, mirror=mirror) == (mirror and not known)
                model[stream, gateway] = now + FOLLOWED_S, mirror
            case ("wait", float(seconds)):
                now += seconds
            case ("lost", str(gateway)):
                followers.gateway_lost(gateway)
                model = {key: value for key, value in model.items() if key[1] != gateway}
            case ("ended", str(stream)):
                followers.ended(stream)
                model = {key: value for key, value in model.items() if key[0] != stream}
            case _:
                followers.forget(now)
        for stream in ("s1", "s2"):
            alive = {key[1] for key, (until, _) in model.items() if key[0] == stream and until > now}
            mirrors = {gateway for gateway in alive if model[stream, gateway][1]}
            assert set(followers.of(stream, now)) == alive
            assert set(followers.mirrors_of(stream, now)) == mirrors
