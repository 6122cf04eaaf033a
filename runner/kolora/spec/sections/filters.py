"""The section `filters`: Data-Juicer operators, each in Data-Juicer's own form."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, GetJsonSchemaHandler, RootModel, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

import kolora.spec.operators as operators
from kolora.spec.faults import validation_error


class Filter(RootModel[dict[str, dict[str, Any]]]):
    """One Data-Juicer operator in Data-Juicer's own form: `operator: {parameter: value}`, or the bare name."""

    # Not Frozen's config: a root model has no keys to forbid, and parameters are checked by the table of operators.
    model_config = ConfigDict(frozen=True)

    @field_validator("root", mode="before")
    @classmethod
    def _check_operator(cls, item: object) -> object:
        faults = operators.faults(item)
        if faults:
            raise validation_error(*faults)
        return operators.normalise(item)

    @property
    def name(self) -> str:
        """Return the operator's name."""
        return next(iter(self.root))

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters as given, without defaults."""
        return dict(self.root[self.name])

    @property
    def operator(self) -> operators.Operator:
        """Return what the table of operators says about it."""
        return operators.OPERATORS[self.name]

    @property
    def thresholds(self) -> dict[str, Any]:
        """Return every threshold with the value in force; None means no limit."""
        return self.operator.thresholds(self.parameters)

    def canonical_form(self) -> dict[str, dict[str, Any]]:
        """Return it without the parameters that equal Data-Juicer's defaults."""
        known = self.operator.known
        return {self.name: {key: value for key, value in self.parameters.items() if value != known[key].default}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the list form operator by operator, so that editors complete names and parameters."""
        return operators.json_schema() | {"title": cls.__name__, "description": cls.__doc__}
