"""A `pydicom.Dataset` of raw elements that is lenient when they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pydicom.config import IGNORE
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from pydicom.valuerep import IS, DSfloat, PersonName

from pacsless.dicom import text, values


class BulkValue(NamedTuple):
    """A value left in the file.

    Attributes
    ----------
    vr
        Its VR.
    offset, length
        Its place in the file; in the inflated data set if `Header.deflated`.
        ``length`` is None for fragments (undefined length): see `locate_frames`.
    swap
        Bytes to reverse in each word to make it little endian; 1 means none.
    """

    vr: str
    offset: int
    length: int | None
    swap: int = 1


class Header(Dataset):
    """A data set, or an item of one, without its large values.

    A `pydicom.Dataset` that never raises or warns for a bad value: text is
    decoded with replacement, and an invalid number is None. Large binary
    values and Pixel Data are not in it but in `bulk`.

    Attributes
    ----------
    bulk : dict[int, BulkValue]
        Values left in the file, by tag.
    text_encoding : str
        For `pacsless.dicom.text`.
    pixel_representation : int
        Own or inherited; settles VRs such as US or SS.
    transfer_syntax : str
        Of the file. This and the rest are the data set's, not its items'.
    implicit_vr, little_endian, deflated : bool
        How the data set is really encoded, whatever the transfer syntax says.
    warnings : list[str]
        What was wrong, without values; not empty if the data set is cut short.
    """

    transfer_syntax = ""
    implicit_vr = False
    little_endian = True
    deflated = False
    dataset_offset = 0

    def __init__(
        self,
        elements: dict[BaseTag, Any] | None = None,
        text_encoding: str = text.DEFAULT,
        pixel_representation: int = 0,
    ) -> None:
        super().__init__({} if elements is None else elements)
        self.text_encoding = text_encoding
        self.pixel_representation = pixel_representation
        self.bulk: dict[int, BulkValue] = {}
        self.warnings: list[str] = []

    def __setattr__(self, name: str, value: Any) -> None:
        # pydicom looks up every name; that is a third of the time an item
        # takes. Only keywords begin with a capital.
        if name[0] >= "_" and name != "file_meta":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __getitem__(self, key: Any) -> Any:
        """Return an element, decoded leniently. Raw elements stay raw inside."""
        if isinstance(key, slice):
            return super().__getitem__(key)
        try:
            tag = key if isinstance(key, BaseTag) else Tag(key)
        except (ValueError, TypeError, OverflowError) as error:
            raise KeyError(str(key)) from error
        element = self._dict[tag]
        return self._decoded(element) if isinstance(element, RawDataElement) else element

    def codes(self, keyword: str) -> list[str]:
        """Return all values of a Code String, however they are spelt; none if there are none."""
        value = self.get(keyword) or ()
        return [str(one).strip().upper() for one in ([value] if isinstance(value, str) else value)]

    def add_raw(self, element: RawDataElement | DataElement) -> bool:
        """Add an element as read; False if there is one of its tag: the first counts."""
        if element.tag in self.bulk:
            return False
        return self._dict.setdefault(element.tag, element) is element

    def add_bulk(self, tag: int, value: BulkValue) -> bool:
        """Add a value left in the file; False if there is an element of its tag."""
        if tag in self._dict:
            return False
        return self.bulk.setdefault(tag, value) is value

    def raw_elements(self) -> Iterable[RawDataElement | DataElement]:
        """Return the elements as read; only sequences and what was assigned are decoded."""
        return self._dict.values()

    def _decoded(self, raw: RawDataElement) -> DataElement:
        vr = values.definite_vr(raw.VR or "UN", self.pixel_representation)
        value: Any
        if vr in values.BINARY:
            value = raw.value
        else:
            found = values.decode(vr, raw.value or b"", raw.is_little_endian, self.text_encoding)
            value = _pydicom_value(vr, found)
        element = DataElement(
            raw.tag, vr, value, raw.value_tell, already_converted=True, validation_mode=IGNORE
        )
        # pydicom gives a UN of a known tag its dictionary VR, though its value
        # was found to be something else.
        element.VR = vr
        return element


def _pydicom_value(vr: str, found: list[values.Value]) -> Any:
    """Return values as pydicom has them."""
    convert: Any = str
    if vr == "AT":
        convert = _tag
    elif vr == "PN":
        convert = _person_name
    elif vr == "UI":
        convert = _uid
    elif vr in values.NUMERIC_TEXT:
        if any(isinstance(value, str) for value in found):
            return None
        convert = _decimal if vr == "DS" else _integer
    elif not all(isinstance(value, str) or value is None for value in found):
        convert = _same
    if not found:
        return empty_value_for_VR(vr)
    converted = [empty_value_for_VR(vr) if value is None else convert(value) for value in found]
    return converted[0] if len(converted) == 1 else MultiValue(_same, converted)


def _same(value: Any) -> Any:
    return value


def _tag(value: str) -> BaseTag:
    return BaseTag(int(value, 16))


def _person_name(value: str) -> PersonName:
    return PersonName(value, validation_mode=IGNORE)


def _uid(value: str) -> UID:
    return UID(value, validation_mode=IGNORE)


def _decimal(value: int | float) -> DSfloat:
    return DSfloat(value, validation_mode=IGNORE)


def _integer(value: int | float) -> Any:
    return IS(value, validation_mode=IGNORE) if value == int(value) else value
