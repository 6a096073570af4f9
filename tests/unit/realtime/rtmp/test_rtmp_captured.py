"""What ffmpeg 9.0 and librtmp 2.4 (the library in OBS) sent, captured after the handshake: 0.6 s of H.264 and AAC."""

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtmp_peer import HANDSHAKE, RANDOM, cut

from veza.realtime.rtmp.events import Event, Media, Metadata, PublishAsked, Unpublished
from veza.realtime.rtmp.session import Session, State
from veza.realtime.rtmp.tags import AudioCodec, AudioConfig, AudioFrame, VideoConfig, VideoFrame, read_audio, read_video

# ffmpeg takes our chunk size of 4096 for its own, and cuts nothing.
FFMPEG = zlib.decompress(
    base64.b64decode(
        "eNqVVglUE8kW7UBYwiYwyKKiyI6jkhBEERAkMX4UEHDBJfgJSQcCIYlJiGwCOjOCHxRxARRH9GhGNo2AGhAFNAoICCpurBEVER0IDKsQyXQngJ7j"
        "/H/Or65TVX3r1btVt1+dfsoAXFIN4FYJUCMzGQyQzAXcB+U4oAwok1gsJQBJp/FAAMmNYYFKgAaDyWCxaTwSFwTUqXQSJ2wHyFYCLAg+3hvssSvR"
        "ZrZkZiSLxKWF0EEXM28Sj+qEXYlZiUE72AEqXPJ2Nl0JWMjmRrLW2ttjHFavREMPZi3GWYRdhbaXEwEoJTk9EqHYhi6Ak/eWBkqANhukgyQOuJXL"
        "BkmRgIfCAlCBdh8BxrhHu2EUtmaQLYqA84sKodM4YYCH+n+xM4HstMiQL+6cS90ZU8USKwOEQhzWrCuDH1zNKISEYYSjvmKBtgcH5OJJXBKBTYqE"
        "dWMyfEAuCUZgz9qAOiWKDcnEZABzRWU/jcKFKGaPpRoG0kLDuN8AbR6NAjIpkA82rP9cQVFhEjk2uz9AS25LZlJAMo0CeCyadUGKotC+ufCwn/E9"
        "T45zSJEs+oyjqn+Y4dBioRn07P44XJANMqEDa8lt5sgsZwzUQAaMQfGh9X0kQIFDm/H13RlU5d0yFKyfkVxLz2oNWTdgGAr1bVbX9eCIRMCNRrq+"
        "9QUEgAxrmleHVBCpw6sEwPyUHT2A4kMkKiBEBwBRk+eolWyv7KHllegFdu/KFX5+UZ8V4HwudHGfZRbbbFSya1QSNJl17evmVwn8z1UBk+lRPAFU"
        "Y3iC/qoIKfOTLGfK6eXPqSFlt0iPdyVvDOs0LeUY3nzdvprM8V1xKUq44K9AVn9/atdezV+UDjpGVWDLJt0XTP2VQ1wg9Nl6K3DbcKDesz1qGLZv"
        "08vbhfOfdIYK9p1fGNl+s6PgXUjZy8JVBY/DRbuL4MHOz0f/8w4eOj4VNP+Pp550SqTvb/V9XUG8yX7RELiC6IU/5eWrwdp6KPPa7vLwnkKou70L"
        "zPw/K+GosclJa4+nlwiq/1zwQe3CuK6Y3vM/1OwmAgAkAcB8lNHMXdYCU35da20LXfFHr/bi4UmEjboAAUycby3emhlhZUR10D/0Z82//CdDZcLp"
        "rlcH9lkLhxJfjcj6ZIJaVA0/4lgiUyhLnpal7Mu3OTedK/xa1Ss9GRhVm3HsssGzf/taeDxdn7fKwB/va+lZd7g+EzFvtLFhOPWzRq/JK80w16QR"
        "nREOQ9LTVnc1YzHeWaOOQYrRqHOyTstGo9EOtPTlN/v+cMNEtHgbF2f9cZbc4hMjXrbcs5pteD2EnhK0wZBX7zpa4+bWu67T3j/5oc228ycWX3Zj"
        "mspMpNRCzyZNY4eP4e/Dwc04Lf2AF1l3IjrqR4abXb/VpqgtrjK73oJ025YD4/5go0/PsXbGmIQSl3/HHBEa8rRFtaE2Ro/OyOPnHzwoUFZW1v+y"
        "xfUTMPxgcs3oNjW5XMAgLNfb4SL8GtOjqgHo4w/osrclreJxWUN/4tFPA8Qsy8xMcUBo//Sh05MDPghdZYTag0q6vSCxUCaRHjrwVSRboqoOfVjP"
        "y/lgZEHBWdPmBuOW2xvLEt5Nn7x6hJUHOKYvGGI8fEg76Wtrx5QKpEEaRbnaadOTqlvSRO6VSbKaYIm8zT0AyJYgxAcQsnRdSVWZe231lqqyxHdv"
        "7MUd6UPZj8bHLaRUVPNHVcL94an69PTDLZKBK9OLNPv1p/5MWufqN5DosajxJ8nFPVhq8P4n0RNSrTiS2hvKxYhnew3yoYOue93s6OBvSORHQzFU"
        "BwA6KJuZGFJZf9ZsXapCjfewGh3Y7LE1dou227h5Zw7JRhNlYqOKjvyY2piIvDW9nkr0BbcSQJ9GD3XVDza043rlFc4VJJ/Y8ajr5eeKn6dudg72"
        "f7wiuCkJyy8t31mtWVJ+u5xf3ELsJD6DRxwvgwx9O3PLAALAV6/cY3M+lufL9+XkbXFf7WCK5De/IH55mOfL/2TMV9/lbXTcH3X5t1PB4tzf6zdE"
        "Fh+0PeN3F7eBnjB0leAf6xPmWUcsAfAlS3+Jz2ddKKdvQ2KX4oX3U0JK11QClJevH/kF0oayj2y6SH1eVMPYgWNZ3VpoqOS1uzdJcVFMobMikNgi"
        "vwgL3Wu590u3J07I2vK3si2PmONTTqtJsPbSSckN98HXzkSn6GgMoFn+U+F81PEXWeYXHHvv+eFvF6MfODaUtWFFtdfb8K0DffHZb6f6YzePzjfT"
        "6x5j+evsHZyysigbvbPsdQL+bd+F3D3xpWPchC+SpsISes/yDDDuQo9xGkY8dqKiMpq8pG3TQKEWud1qP1NkPP0skCfFpNNPd1ZBUGtQO/TCBPcz"
        "B73j4ubxZMhaYammcMJrcVfjSnH30ltjJJ4MpS0s1XaRWjp1NWLE3VZxcejaxF9P9/8pMp3WDxT2HsZMeAV1ZstpvnSnJdJ+roCwr5eLhN1pcZRr"
        "/RPWbnchNpHx2FignCCp5rv48JiNj3FYs3XY7OdUk+BhfGV8/LIPb70s8Uf0dFH3shf5HHzvuvuO6plUtSsG13A14YPE7S7hm60ftkasbn2ObexL"
        "y3RRrpYlT90dEUXGqtn9duKYdkFGjrNApSakmnYWfXxo0/u1O2/Euzgx979Jtihd/fvE0gke9av40JJkKhM3iDvTmvP0hDrHBRvrsF6H3svE9SU7"
        "cYSXzEmPz/V/rMvmhDrfoHg7l1ZGmpgubxU7pR3LpEtyCBu97kjuXbIopTZJdd/zqMNVSGfTMxCks5HKdBnEZbTmPJHqfuBRR9yR7jqNXclvkp1i"
        "5DyhZ+6amCkY4EsDS4EygnMpRa5jDuU6mgTcdsZcKmP8Qyojgv7UFCjF+pYOzeQNKnNZ4d9o2RPn"
    )
)
# librtmp stays with 128.
LIBRTMP = zlib.decompress(
    base64.b64decode(
        "eNqVVns4VFsbXzOu4xaOXIourtWpGCMRIiYduYTqqNBnmD0MY2aaGZNbUeec6KPQBaVSTzm5lVANKZQJIUI310mlScVwXGOyz54Z9F16vuf51l6z"
        "3zW//a7fu97fu/54pYBo+GqI3mggF0SjUqEgFrAfFuNACkgR6HQ0kKaQ2RCQZkXRITRQoNKodAaZTWBBQIYVtJtBQYOlDFY4fZOpKdZ843oz5MFu"
        "wlrjNpiZivcBjJOYbYUGGigzIApEYEI7WQyIEA4cJHGADBpIhUFREj9dxA/j7OQZEUghM0OAg/wPfHQQH6UghIO1QKU65yYtNis1UJKc6PM0Gv9G"
        "M5eU2BlloS5xVnZgQiw8gUVwZhDCRanSqO4QiyBCRIdQBvLECAaBRaZRgT3ftfa64GIJkDlIJrIQ+vlUZEMgcnAI6zugzCYTIRoR4WCIJFsYGJIo"
        "iBiTnI2L/JTEzkE0IhREJgIH3XkOQgSR/J3DwXSOfJEYZxLC6ZQ5pqoffGGSo5EvZvMHZLIgBkRDMlYS+ywEM+TOechBVBHIQCR2I7BJlrj12PVY"
        "M3MgTyLPk11pm89CIvcajEhBLbGajtUKcB/QDEZsp9EtNdE1QoleCinqxpdRQDqkeVG9ZJecvGhXEVic+Gs/kJQiTgKhugESOmghNHrVdV9yboma"
        "T9/ebM7nFw0Z3tYXgpcNGGYwVowL9o4L/Kczbn5zfXU453OV93RKBLsImVHsosGqMCHtE5w1Y/ny56TAsruEp3sTtoX06JUyNe+87toYxPRYdzWC"
        "s+QvH/rgYFLvfsXf0EcsIipwZdxp+yUzf2X5LeG477zrs2vUR63NVw7L8Gh+ea9g8bOe4KIDl5aGd93pzn8XWPayYEP+09CafYWixZ7PJ/75TrS0"
        "aC1q+R9PA+FMjbqX0b/OdX53GC8afdb5ueDPuHA9FOg7j6bf3Fce2l+AmHt7ofT/czqf0NY5bezQetVZ9scD79/FiemN4l/6r5nZjAcgHoDFGC2U"
        "pMxKUOLvm4xXAQz6yav9eHGlTOSLUGDqUkfxzvQwIy2SufrRL7W/eE0Hw5zZ3leHDhhzRuJejcEDcFEdpjYn7GQcjQMnzMKJB/JMLsxmc75V8YWn"
        "fSLq0k5e02j7h4eBQ+uW3A0aXngPQ8f6Yw3pqEXjTY2jSZ8V+DqvFENs48dUxphUQX9n/Y20ZXhrhXoqIUqhnmtpnJxpZmZmTk5Ze2fgTztsWLub"
        "dnHGn+eD2t2jeGvWOlYzNG8FUhL9t2qyG2zHa+3s+Jt7TL0SHpvsunRq2TU7mh6sIyQVODYrapt/DH0fCrk6Kal7v8i4H9bdMDbaYvt9NkfssIVX"
        "8/NTVrUfmvSCmtz7T3ZRJwRcYkzefX1UcGBru2xjXZQahZqbk3fkSJGUlJT61x22n8Aod9pqfJecRM1hkWBvRwvxVnonZL3NUrkU+G1JB28SbhyM"
        "O/FpyC/DMD2d5x08OHv07PSQO0pVCiXHraSYFsUVwALh0UPfauDlsvJIaR2v5UHh+fnn9VoatdvvbSs7/G729I3j9FxgkbJkhPr4Mfm0x6rVNGGR"
        "0F+hMFs5eXZadkdyjX1lPFzLDRCITED2IQAvR/EOoeAUVUFVmX1d9Y6qsrh3b0x53SkjmU8mJw2EJEzLR1nnR6MzDSkpx9oFQ9dndRUH1We+xG+2"
        "9RyKc9Bt+klwxRdHCjj4LHJKqBRDkHtDvBLWtl8jD8l08+sWC3MvTb+cSCTxXwBQwZjMXSOZLedXbE5CUCsA3ovk6MZlTlit1t1tYueWPgKPx8E8"
        "rYruvKi6qLBcK74jmrLk7mHIvclBXvaDCTlVrbzCuoLgHj0Zcav8QvHzJFfrAK+n6wKa43E5peV7qhVLyu+V5xS3+/X4tYlWTBeNNPXV+obeziBH"
        "vtLX5FI02yPHg5m7w36juZ50TssLrt/Xx7keOZ+0c+T3ummlemGu/XEmgJd9sWFrePGRVec8HzhtpRweueHsFe0e4ljvVwLwJSt/i82jXy6n7JLG"
        "rcRzHiUGllpVAuLL1088fcgjmce3XyE9L6yl/upEN7q7VBPtso8fL649Sg9JFiWNK/QMM1C9mf2odHfcFNyZt5NheFwfn3hWToAzFU4LbtsPv7b2"
        "s4yMxALF8p8KFmNSX2ToX7bgP/TE3ys241o0lnXiaupudeI7hgZiM9/ODEa7ji9eodY3QfdS2T88Y2RQNn5/zevD+LcDl7N9Y0snWIe/CpoLSij9"
        "a9OgGO7lfu1kLG/iVEVlZNDyzu1DBUpBXUYHaTXas20+bCE2hXK2pwqBOvy7kD806CBt2C0mZhEblq7jlCpyplyW9Tat5/WtvDtBYMMYZU6pso3Q"
        "0LK3CcvrM4qJMauL+/3s4JcavVl1Hw7/GHbKxb8nUxzma19yHPnnCv4xLvbbtUJOX3IM8ebglLHdAyRcjfbEhI84gkgm1f+4KQ7im0IHYFIk3mZc"
        "5nOSTsAovjI2ds2Hty6G+ONqqpiHmbruR97b7rsvey5J7rrGTafa0GG/3TahrsaPO8I2djzHNQ0kp9tIVcMJMw/GasKj5Vb/ceqkcn5alnWRTG1g"
        "Nfm8WerI9veb9tyOtbGkHXyTYFC68eLUyik26Rvv6PIEEs1p2OlcR1Yr95Q80wYXbb5FhcKnOQ0kWDI5V/UJTy8MfqzPZAZb3ya6WZdWhuvore3g"
        "WSafTKcIspy3udwXPLxqUEpqFqq+Z5NGq6St9c4hkMo2Es1m2CmtI+uZUPUDmzRmL22v0tSb8CbBMiqrFYkTfO6BzgpJhEg8DMOIFhjEpGqhEVkk"
        "3c8ypPtRdHbaTV1obrR/0CPpi3okItJvfe+R5voJmYUO72+OBhSb"
    )
)


def replay(stream: bytes, cuts: list[int]) -> list[Event]:
    """Nobody sends media before publishing is allowed, so that a piece ends where that was asked for."""
    session = Session(RANDOM)
    session.receive(HANDSHAKE)
    asked = stream.index(b"\x04live", stream.index(b"publish")) + 5
    events: list[Event] = []
    for piece in cut(stream, [*cuts, asked]):
        events += session.receive(piece)
        if session.state is State.ASKED:
            session.accept_publish()
        session.take()
    return events


@pytest.mark.parametrize(("stream", "name"), [(FFMPEG, "key?x=1"), (LIBRTMP, "key")])
def test_a_whole_stream(stream: bytes, name: str) -> None:
    asked, metadata, *media, ended = replay(stream, [])
    assert asked == PublishAsked("live", name, 5.0)
    assert isinstance(metadata, Metadata)
    assert metadata.values["encoder"] == "Lavf63.1.102"
    assert ended == Unpublished()
    video = [
        (event.timestamp_ms, event.payload) for event in media if isinstance(event, Media) if event.kind == "video"
    ]
    audio = [
        (event.timestamp_ms, event.payload) for event in media if isinstance(event, Media) if event.kind == "audio"
    ]
    assert [at for at, _ in video] == [0, 128, 328, 528, 528]
    assert [at for at, _ in audio] == [0, 0, 128, 256, 384, 512, 640]
    config, first, *others, end = [read_video(payload) for _, payload in video]
    assert isinstance(config, VideoConfig)
    assert isinstance(first, VideoFrame)
    assert first.key
    assert [isinstance(frame, VideoFrame) and not frame.key for frame in others] == [True, True]
    assert end is None
    heard = [read_audio(payload) for _, payload in audio]
    assert heard[0] == AudioConfig(AudioCodec.AAC, bytes.fromhex("158856e500"))
    assert all(isinstance(frame, AudioFrame) for frame in heard[1:])


def test_both_send_the_same_media() -> None:
    one, other = [[event for event in replay(stream, []) if isinstance(event, Media)] for stream in (FFMPEG, LIBRTMP)]
    assert one == other


@given(st.sampled_from([FFMPEG, LIBRTMP]), st.lists(st.integers(0, 2600), max_size=10))
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert replay(stream, cuts) == replay(stream, [])
