"""The task file: what it may say, and what is said when it says something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from whichway.errors import TaskFileError
from whichway.intake.finding import nearest, show
from whichway.intake.personal import holds_secret
from whichway.intake.yamltext import Trail, Yaml, read_yaml, typed

NameList = Annotated[tuple[str, ...], Field(max_length=100)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Kind = Literal["text", "number", "category"]

_RULES = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Names of files, columns and labels may look like anything.
_FREE = ("data", "inputs", "target", "id", "group", "output", "metric", "further")
OTHER_MODELS = ("causal", "embedder")
LONGEST_ENDPOINT_NAME = 60
_KEY_FIX = "Put the key in an environment variable and give the variable's name: key_env: OPENAI_API_KEY."


class DataFiles(BaseModel):
    """Where the rows are; paths are relative to the task file."""

    model_config = _RULES
    train: str
    test: str | None = None
    unlabelled: str | None = None
    format: str = "auto"


class OutputShape(BaseModel):
    """The shape of the answer; None means: found in the data.

    `labels` maps a label to its description, or to ''. `schema` is the JSON Schema of `fields`. `rules` (see
    core.rules.Rules), `stop`, `unknown` (how 'I do not know' is said) and `most_tokens` belong to `text`.
    """

    model_config = _RULES
    shape: Literal["labels", "fields", "text"] | None = None
    labels: dict[str, str] | None = None
    multi: bool = False
    separator: str = Field(default="|", min_length=1, max_length=10)
    fields_schema: Annotated[dict[str, Any], BeforeValidator(typed)] | None = Field(default=None, alias="schema")
    rules: Annotated[dict[str, Any], BeforeValidator(typed)] = Field(default_factory=dict)
    stop: NameList | None = None
    unknown: str | None = None
    most_tokens: int = Field(default=0, ge=0, le=4096)

    @model_validator(mode="after")
    def _of_one_shape(self) -> OutputShape:
        """Refuse what another shape of answer would need: it would be ignored."""
        theirs = {
            "labels": ("labels", "multi"),
            "fields": ("fields_schema",),
            "text": ("rules", "stop", "unknown", "most_tokens"),
        }
        for shape, names in theirs.items():
            said = [name for name in names if name in self.model_fields_set]
            if self.shape is not None and shape != self.shape and said:
                name = said[0].removeprefix("fields_")
                raise ValueError(f"`{name}` belongs to the shape `{shape}`, and the shape is `{self.shape}`")
        if self.stop and "" in self.stop:
            raise ValueError("a stop is empty")
        return self

    @field_validator("labels", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, list):
            if None in value:
                raise ValueError("a label is empty or null; put it in quotes if it is meant")
            if len(set(value)) < len(value):
                raise ValueError(f"the label {show(next(one for one in value if value.count(one) > 1))} occurs twice")
            return dict.fromkeys(value, "")
        return {key: one or "" for key, one in value.items()} if isinstance(value, dict) else value

    @field_validator("labels")
    @classmethod
    def _enough(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        if value is not None and len(value) < 2:
            raise ValueError("at least two labels are needed; leave `labels` out to take those of the data")
        if value is not None and any(not label.strip() for label in value):
            raise ValueError("a label is empty")
        return value


class MetricChoice(BaseModel):
    """A metric by its registered name, and its parameters."""

    model_config = _RULES
    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping) or "params" in value:
            return value
        # `positive` names a label, so `positive: 1` must stay the string '1'.
        params = {key: one if key == "positive" else typed(one) for key, one in value.items() if key != "name"}
        return {"params": params} | ({"name": value["name"]} if "name" in value else {})


class JudgeSection(BaseModel):
    """A model that judges the finalists' texts beside the metric, with its agreement with people's own answers."""

    model_config = _RULES
    model: str = "causal"
    criteria: str = ""
    rubric: str = ""
    rows: int = Field(default=30, ge=5, le=1000)


class ObjectiveSection(BaseModel):
    """What is worth having; see core.task.Objective."""

    model_config = _RULES
    smallest_difference: Share = 0.02
    requests_per_month: NotNegative = 10_000
    horizon_months: Positive = 12
    label_usd: NotNegative = 0.0
    compute_usd_per_hour: NotNegative | None = None
    timeline_days: NotNegative | None = None
    labels_owned: NotNegative | None = None
    refresh_months: Positive | None = None
    refresh_labels: NotNegative = 0
    hourly_usd: NotNegative = 0.0
    hours: dict[str, NotNegative] = Field(default_factory=dict)
    refresh_hours: dict[str, NotNegative] = Field(default_factory=dict)
    hosting_usd_per_month: NotNegative | None = None


class ConstraintSection(BaseModel):
    """What an answer must satisfy; see core.task.Constraints."""

    model_config = _RULES
    min_score: Finite | None = None
    max_cost_per_1000_usd: NotNegative | None = None
    max_upfront_usd: NotNegative | None = None
    max_p95_ms: Positive | None = None
    max_memory_mb: Positive | None = None
    min_consistency: Share | None = None
    deadline_days: NotNegative | None = None
    privacy: Literal["local", "any"] = "any"


class BudgetSection(BaseModel):
    """What a study may use: minutes of wall clock and US dollars."""

    model_config = _RULES
    minutes: NotNegative = 30
    usd: NotNegative = 0


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = _RULES
    input: NotNegative = 0
    output: NotNegative = 0
    cached_input: NotNegative | None = None
    training: NotNegative | None = None
    batch_discount: Share | None = None


class Endpoint(BaseModel):
    """An OpenAI-compatible endpoint; `key_env` is the name of an environment variable, never the key."""

    model_config = _RULES
    base_url: str
    model: str
    key_env: str | None = None
    price: Price | None = None
    max_concurrency: int = Field(default=4, ge=1, le=1024)
    timeout_s: Positive = 60
    fine_tuning: bool = False
    batch: bool = False
    batch_minutes: Positive = 1440  # that a batch may take

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("this is no address; write https://host/v1") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("this is no address; write https://host/v1")
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise ValueError(f"the address holds a user name or a password. {_KEY_FIX}")
        if parts.query or parts.fragment:
            raise ValueError("the address has a query or a fragment, where keys get written; leave it out")
        return value

    @field_validator("key_env")
    @classmethod
    def _variable_name(cls, value: str | None) -> str | None:
        if value is not None and (not _VARIABLE.fullmatch(value) or _looks_random(value)):
            raise ValueError(f"this looks like a key and not like the name of a variable. {_KEY_FIX}")
        return value


def _endpoint_name(name: str) -> str:
    """Accept what may stand in `prompt-few@name`, in the name of a folder, and beside the models that are always there."""
    if name in OTHER_MODELS:
        raise ValueError(
            f"{' and '.join(OTHER_MODELS)} are the models on this machine; call the endpoint something else"
        )
    if not name.strip():
        raise ValueError("an endpoint needs a name, as in `endpoints: {mini: {base_url: ..., model: ...}}`")
    if len(name) > LONGEST_ENDPOINT_NAME:
        raise ValueError(f"the name of an endpoint has at most {LONGEST_ENDPOINT_NAME} characters")
    if "/" in name or not name.isprintable():
        raise ValueError("the name of an endpoint holds no '/' and no control or invisible characters")
    return name


class ModelSection(BaseModel):
    """The models that strategies may use; 'embedded' is the one that comes along."""

    model_config = _RULES
    causal: str = "embedded"
    openvino: str | None = None  # a folder with the weights of `causal`, converted
    embedder: str = "embedded"
    endpoints: dict[Annotated[str, AfterValidator(_endpoint_name)], Endpoint] = Field(default_factory=dict)


class StrategySection(BaseModel):
    """Which strategies take part, and their settings by name."""

    model_config = _RULES
    only: NameList = ()
    skip: NameList = ()
    settings: dict[str, dict[str, Annotated[Any, BeforeValidator(typed)]]] = Field(default_factory=dict)


class TaskFile(BaseModel):
    """The task file. `inputs` is None where they are to be inferred; so is a kind."""

    model_config = _RULES
    task: str = Field(min_length=1, max_length=200)
    instruction: str = ""
    context: str = ""
    paraphrases: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=4)] = ()
    data: DataFiles
    inputs: dict[str, Kind | None] | None = None
    target: str | None = None
    id: str | None = None
    group: str | None = None
    output: OutputShape = OutputShape()
    metric: MetricChoice | None = None
    further: Annotated[tuple[MetricChoice, ...], Field(max_length=20)] = ()
    judge: JudgeSection | None = None
    documents: str | None = None
    objective: ObjectiveSection = ObjectiveSection()
    constraints: ConstraintSection = ConstraintSection()
    budget: BudgetSection = BudgetSection()
    models: ModelSection = ModelSection()
    strategies: StrategySection = StrategySection()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("further", mode="before")
    @classmethod
    def _from_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | dict) else value

    @model_validator(mode="after")
    def _judge_exists(self) -> TaskFile:
        if self.judge is not None and self.judge.model not in ("causal", *self.models.endpoints):
            raise ValueError(f"there is no model {show(self.judge.model)} to judge: causal, or one of models.endpoints")
        return self

    @field_validator("data", mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"train": value} if isinstance(value, str) else value

    @field_validator("inputs", mode="before")
    @classmethod
    def _from_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: None}
        return dict.fromkeys(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value


def read_task_file(path: Path) -> tuple[TaskFile, Yaml]:
    """Return what the file says, and the YAML with the line of each value; raises TaskFileError."""
    if path.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl", ".parquet"):
        raise TaskFileError(f"{path}: this is a data file, not a task file.", f"Make one: whichway init {path}")
    said = read_yaml(path)
    if not isinstance(said.data, dict):
        raise said.bad((), "a task file is a list of `key: value`.", f"Begin with: {_listed(TaskFile)}.")
    _refuse_secrets(said, said.data, ())
    try:
        return TaskFile.model_validate(_without_nulls(said.data)), said
    except ValidationError as error:
        raise _explain(said, error) from None


def _without_nulls(data: Any, trail: Trail = ()) -> Any:
    """Leave out keys without a value, which then keep their default; a label without a description stays a label."""
    if not isinstance(data, dict) or trail in (("output", "labels"), ("inputs",)):
        return data
    return {key: _without_nulls(value, (*trail, key)) for key, value in data.items() if value is not None}


def _refuse_secrets(said: Yaml, data: Any, trail: Trail) -> None:
    if isinstance(data, dict):
        for key, value in data.items():
            _refuse_secrets(said, key, (*trail, key))
            _refuse_secrets(said, value, (*trail, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            _refuse_secrets(said, value, (*trail, i))
    elif isinstance(data, str) and (holds_secret(data) or (trail[0] not in _FREE and _holds_token(data))):
        name = show(".".join(str(part) for part in trail if part != data), 200)[1:-1]
        raise said.bad(trail, f"`{name}` holds what looks like a key or a token, which has no place here.", _KEY_FIX)


def _holds_token(text: str) -> bool:
    """Tell whether one of the words is long and mixes letters and digits as no name does; a UUID is no secret."""
    words = [word for word in re.findall(r"[A-Za-z0-9_-]{32,}", text) if not _UUID.fullmatch(word)]
    return any(len(re.findall(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])", word)) >= 8 for word in words)


def _looks_random(value: str) -> bool:
    """A variable is called in words; a token mixes digits and letters without a system."""
    changes = len(re.findall(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])", value))
    return holds_secret(value) or (len(value) >= 20 and (changes >= 4 or ("_" not in value and len(value) >= 32)))


def _explain(said: Yaml, error: ValidationError) -> TaskFileError:
    """Return the first problem, with its line, in words."""
    problem = error.errors(include_url=False)[0]
    trail: Trail = tuple(problem["loc"])
    name = show(".".join(str(part) for part in trail if part != "[key]"), 200)[1:-1]
    known = _model_at(trail[:-1])
    if problem["type"] == "extra_forbidden":
        return said.bad(trail, f"there is no key {show(name)}.", nearest(str(trail[-1]), list(known.model_fields)))
    if problem["type"] == "missing":
        return said.bad(trail, f"the key `{name}` is missing.", f"Add it: {trail[-1]}: ...")
    if name == "output.shape":
        what = f"there is no shape {show(problem['input'])}."
        return said.bad(trail, what, "Write one of: labels, fields, text.")
    what = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    # What stands in these two may be a secret, so it is not repeated.
    is_open = isinstance(problem["input"], str) and not name.endswith(("key_env", "base_url"))
    shown = f" (it says {show(problem['input'], 30)})" if is_open else ""
    return said.bad(trail, f"`{name}` cannot be used{shown}.", f"Mend it: {what.rstrip('.')}.")


def _model_at(trail: Trail) -> type[BaseModel]:
    """Return the model that describes the mapping under a trail."""
    model: type[BaseModel] = TaskFile
    for part in trail:
        field = model.model_fields.get(str(part))
        if field is not None:
            kinds = [field.annotation, *get_args(field.annotation)]
            model = next((one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return model


def _listed(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)
