"""The picture size in a sequence parameter set: H.264 (ITU-T H.264, 7.3.2.1.1) and HEVC (ITU-T H.265, 7.3.2.2)."""

# Profiles whose SPS tells the chroma format and scaling lists (H.264, 7.3.2.1.1).
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
# (SubWidthC, SubHeightC) by chroma_format_idc (H.264, table 6-1; H.265, table 6-1).
_CHROMA = ((1, 1), (2, 2), (2, 1), (1, 1))


class Bits:
    """Reads bits from the front; reading beyond the end raises ValueError."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("ends too early")
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        """Exp-Golomb, unsigned (H.264, 9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("a number that is too long")
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self) -> int:
        """Exp-Golomb, signed (H.264, 9.1.1)."""
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def h264_size(unit: bytes) -> tuple[int, int]:
    """Width and height from a NAL unit of type 7; ValueError when there is no sense in it."""
    bits = Bits(_payload(unit[1:]))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.ue()  # seq_parameter_set_id
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        separate = chroma == 3 and bits.take(1)
        bits.ue(), bits.ue(), bits.take(1)  # depths, qpprime_y_zero_transform_bypass_flag
        if bits.take(1):
            for index in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
        chroma = 0 if separate else chroma
    bits.ue()  # log2_max_frame_num_minus4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.take(1), bits.se(), bits.se()
        for _ in range(_few(bits.ue())):
            bits.se()
    bits.ue(), bits.take(1)  # max_num_ref_frames, gaps_in_frame_num_value_allowed_flag
    width, height = (bits.ue() + 1) * 16, (bits.ue() + 1) * 16
    frames_only = bits.take(1)
    fields = 2 - frames_only
    height *= fields
    if not frames_only:
        bits.take(1)
    bits.take(1)  # direct_8x8_inference_flag
    if bits.take(1):
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        across, down = _CHROMA[chroma] if chroma < 4 else (1, 1)
        width -= (left + right) * across
        height -= (top + bottom) * down * fields
    return _sane(width, height)


def hevc_size(unit: bytes) -> tuple[int, int]:
    """Width and height from a NAL unit of type 33; ValueError when there is no sense in it."""
    bits = Bits(_payload(unit[2:]))
    bits.take(4)  # sps_video_parameter_set_id
    layers = bits.take(3)
    bits.take(1)  # sps_temporal_id_nesting_flag
    bits.take(96)  # general profile, tier and level (7.3.3)
    if layers:
        present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
        bits.take(2 * (8 - layers))
        for profile, level in present:
            bits.take(88 * profile + 8 * level)
    bits.ue()  # sps_seq_parameter_set_id
    chroma = bits.ue()
    if chroma == 3 and bits.take(1):
        chroma = 0
    width, height = bits.ue(), bits.ue()
    if bits.take(1):
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        across, down = _CHROMA[chroma] if chroma < 4 else (1, 1)
        width -= (left + right) * across
        height -= (top + bottom) * down
    return _sane(width, height)


def _payload(data: bytes) -> bytes:
    """Without the bytes that keep start codes out (H.264, 7.4.1)."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _few(count: int) -> int:
    if count > 255:
        raise ValueError("more frames in a cycle than there may be")
    return count


def _sane(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= 16_384 and 0 < height <= 16_384):
        raise ValueError(f"a picture of {width} by {height}")
    return width, height
