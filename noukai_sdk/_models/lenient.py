"""This room holds the base of what the service tells: objects that bear what they do not expect (WIRE.md 8.14).

A field without a default is what makes the object what it is: it must be there, and be of its type. Any other may be
missing, null or odd: null becomes the default, and what cannot be read as declared is kept as it came, so that one odd
field costs that field's type and nothing else. Numbers become text where text is due. Unknown members are kept.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_validator,
)

_FROM_WIRE: Final = object()


class Lenient(BaseModel):
    """An object as the service sent it. Constructible by field name or by the name on the wire."""

    model_config = ConfigDict(populate_by_name=True, extra="allow", coerce_numbers_to_str=True, defer_build=True)

    @classmethod
    def from_wire(cls, payload: dict[str, Any]) -> Self:
        """The object in a parsed `payload`. Raises pydantic's ValidationError if it lacks what makes it one."""
        return cls.model_validate(payload, context=_FROM_WIRE)

    @cached_property
    def raw(self) -> dict[str, Any] | None:
        """The parsed payload as it came; None for an object that was made by hand or read back from a dump."""
        return None

    @model_validator(mode="wrap")
    @classmethod
    def _remember_payload(cls, payload: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        model = handler(payload)
        if info.context is _FROM_WIRE and isinstance(payload, dict):
            # Where a cached property keeps its value: copied and pickled, but no part of equality, repr and dumps.
            model.__dict__["raw"] = payload
        return model

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_what_is_odd(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError:
            field = cls.model_fields[info.field_name or ""]
            if field.is_required():
                raise
            return field.get_default(call_default_factory=True) if value is None else value

    @field_serializer("*")
    def _write_what_is_there(self, value: Any) -> Any:
        # By the value's own type: pydantic warns of one that is not the declared.
        return value
