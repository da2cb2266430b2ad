"""The parts of messages of rows."""

from pydantic import BaseModel, ConfigDict


class Related(BaseModel):
    """A row of another table, as a foreign key shows it."""

    model_config = ConfigDict(extra="forbid")

    key: int | str
    label: str  # empty for a foreign key that the declaration gives none
