"""Scenarios: a world and its story in one file - accounts, people, menus, faults, and what happens when.

A scenario is YAML (or the same as plain mappings) and is read strictly: an unknown key, a wrong type or a name nobody
has is refused with its line and a remedy. Secrets stand outside: ``${NAME}`` in the settings of an account or a
merchant is looked up in the environment. The steps of the timeline become events of the world, so they happen on its
simulated clock, and a snapshot holds those still to come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import attrs

from wxmp.simulator.callbacks import CallbackError
from wxmp.simulator.clock import Clock
from wxmp.simulator.families import menu as menu_family
from wxmp.simulator.families import qrcode as qrcode_family
from wxmp.simulator.families.tag import new_tag
from wxmp.simulator.faults import RULE_FIELDS, read_fault
from wxmp.simulator.policy import Policy
from wxmp.simulator.routes import Call
from wxmp.simulator.state import Dice, Template, WorldState
from wxmp.simulator.steps import ACTIONS, EVENT_KIND
from wxmp.simulator.story import Story
from wxmp.simulator.strict import Document, Part, ScenarioError, nearest, read_moment, read_yaml
from wxmp.simulator.wire import JsonObject, Refusal, Request, WorldError, as_list, as_object
from wxmp.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.state import Account, CallbackFormat, CallbackMode
    from wxmp.simulator.steps import FieldKind

__all__ = [
    "AccountPlan",
    "Applied",
    "CallbackPlan",
    "ClockPlan",
    "CodePlan",
    "FaultPlan",
    "MenuPlan",
    "MerchantPlan",
    "Scenario",
    "ScenarioError",
    "StepPlan",
    "TagPlan",
    "TemplatePlan",
    "UserPlan",
    "apply",
    "build",
    "clock_of",
    "load",
    "policy_changes",
]

# What an AppSecret of the real platform looks like. No such thing may stand in a file.
REAL_SECRET: Final = re.compile(r"[0-9a-f]{32}")
PLATFORMS: Final[dict[str, Literal["1", "2", "3"]]] = {"ios": "1", "android": "2", "other": "3"}
MAX_EVENTS: Final = 10_000
MAX_FOLLOWERS: Final = 1_000_000
ACCOUNT_FLAGS: Final = (
    "secret_frozen",
    "frozen",
    "token_forbidden",
    "risk_control",
    "open_platform",
    "reports_location",
)
ACCOUNT_LISTS: Final = ("ungranted", "banned", "oauth_domains", "linked_miniprograms")
FAULT_DURATIONS: Final = frozenset({"seconds", "jitter"})
FAULT_TIMES: Final = frozenset({"since", "until"})


# --- what a scenario says -----------------------------------------------------------------------------------------


@attrs.frozen
class ClockPlan:
    """The clock of the world: where it starts, and how fast it runs (0 stands still)."""

    start: float | None = None
    speed: float = 1.0


@attrs.frozen
class CallbackPlan:
    """The server configuration (服务器配置) of an account."""

    where: str
    url: str
    token: str = attrs.field(repr=False)
    encoding_aes_key: str | None = attrs.field(default=None, repr=False)
    mode: str | None = None
    format: str = "xml"


@attrs.frozen
class AccountPlan:
    """One account; ``secret_variable`` names the environment variable its secret came from."""

    where: str
    name: str
    appid: str | None
    secret: str | None = attrs.field(repr=False)
    secret_variable: str | None
    kind: Literal["service", "subscription"]
    test: bool
    verified: bool
    ip_list: tuple[str, ...] | None
    settings: Mapping[str, object]
    callback: CallbackPlan | None


@attrs.frozen
class UserPlan:
    """One person, as one account knows them."""

    where: str
    name: str
    account: str | None
    follow: bool
    tags: tuple[str, ...]
    platform: Literal["1", "2", "3"] | None
    language: str
    remark: str
    blacklisted: bool


@attrs.frozen
class TagPlan:
    """One tag of an account."""

    where: str
    name: str
    account: str | None


@attrs.frozen
class MenuPlan:
    """The menus of an account: buttons of the default one, and conditional ones."""

    where: str
    account: str | None
    default: object
    conditional: tuple[JsonObject, ...]


@attrs.frozen
class TemplatePlan:
    """One template in an account's list."""

    where: str
    title: str
    content: str
    template_id: str
    industry: int
    account: str | None


@attrs.frozen
class CodePlan:
    """One QR code; steps scan it by its name."""

    where: str
    name: str
    scene: int | str
    permanent: bool
    seconds: float | None
    account: str | None


@attrs.frozen
class MerchantPlan:
    """One merchant of WeChat Pay: the arguments of ``World.add_merchant``."""

    where: str
    account: str | None
    settings: Mapping[str, object] = attrs.field(repr=False)


@attrs.frozen
class FaultPlan:
    """One fault rule. ``since`` and ``until`` count from the start, unless they are instants (``moments``)."""

    where: str
    fields: JsonObject
    moments: frozenset[str]
    account: str | None

    def at(self, start: float, appid: str | None) -> JsonObject:
        """Return the rule's fields with all times as instants."""
        found = dict(self.fields)
        for name in FAULT_TIMES & set(found):
            if name not in self.moments:
                found[name] = start + cast("float", found[name])
        return found if appid is None else found | {"appid": appid}


@attrs.frozen
class StepPlan:
    """One step of the timeline.

    Attributes:
        where: Its place in the document.
        do: What is done; see :data:`~wxmp.simulator.steps.ACTIONS`.
        at: Seconds after the start; ``None`` with ``moment`` or ``after``.
        moment: The instant.
        after: Seconds after the step before.
        user: The name of the user who acts.
        account: The account, by name or AppID.
        args: The further keys.
        fault: The rule of the action ``fault``.
        every: Seconds until it is repeated.
        times: How often it happens.
    """

    where: str
    do: str
    at: float | None
    moment: float | None
    after: float
    user: str | None
    account: str | None
    args: JsonObject
    fault: FaultPlan | None
    every: float
    times: int


@attrs.frozen
class Scenario:
    """A whole scenario, read and checked as far as that is possible without a world."""

    source: str
    name: str
    about: str
    seed: int | None
    clock: ClockPlan | None
    preset: Literal["2021", "2023"] | None
    policy: Mapping[str, object]
    followers: int
    accounts: tuple[AccountPlan, ...]
    users: tuple[UserPlan, ...]
    tags: tuple[TagPlan, ...]
    menus: tuple[MenuPlan, ...]
    templates: tuple[TemplatePlan, ...]
    codes: tuple[CodePlan, ...]
    merchants: tuple[MerchantPlan, ...]
    faults: tuple[FaultPlan, ...]
    steps: tuple[StepPlan, ...]

    def changed(self, policy: Policy | None = None) -> Policy:
        """Return a policy with this scenario's changes."""
        base = Policy.preset(self.preset) if self.preset is not None else policy if policy is not None else Policy()
        return attrs.evolve(base, **cast("dict[str, Any]", dict(self.policy)))


@attrs.frozen
class Applied:
    """What the names of a scenario have become: AppIDs, openids, tickets, template ids, merchant numbers."""

    accounts: Mapping[str, str]
    users: Mapping[str, str]
    codes: Mapping[str, str]
    templates: Mapping[str, str]
    merchants: tuple[str, ...]
    events: int


# --- reading ------------------------------------------------------------------------------------------------------


def load(source: str | Mapping[str, object], *, environ: Mapping[str, str], name: str = "scenario") -> Scenario:
    """Read a scenario.

    Args:
        source: The YAML text, or the same as a mapping.
        environ: Where ``${NAME}`` is looked up: ``os.environ`` for a file of the user's own, and an empty mapping for
            anything that comes over a network, which must not read this machine's environment.
        name: What errors call the source, such as the file's name.

    Raises:
        ScenarioError: What is wrong, where, and what would help.
    """
    plain = Document(name, source, environ=environ)
    document = read_yaml(source, name, environ) if isinstance(source, str) else plain
    whole = Part(attrs.evolve(document, value=plain_copy(document)))
    accounts = tuple(read_account(part) for part in whole.parts("accounts", expands=True))
    names = Names.of(accounts)
    users = tuple(read_user(part, names) for part in whole.parts("users"))
    codes = tuple(read_code(part, names) for part in whole.parts("qr_codes"))
    for user in users:
        names.add(user)
    for code in codes:
        names.add(code)
    found = Scenario(
        source=name,
        name=whole.text("name", name),
        about=whole.text("about"),
        seed=whole.whole("seed"),
        clock=read_clock(whole.part("clock")),
        preset=None,
        policy={},
        followers=read_followers(whole),
        accounts=accounts,
        users=users,
        tags=tuple(read_tags(whole, names)),
        menus=tuple(read_menu(part, names) for part in one_or_more(whole, "menus")),
        templates=tuple(read_template(part, names) for part in whole.parts("templates")),
        codes=codes,
        merchants=tuple(read_merchant(part, names) for part in whole.parts("merchants", expands=True)),
        faults=tuple(read_rule(part, names) for part in whole.parts("faults")),
        steps=tuple(read_step(part, names) for part in whole.parts("steps")),
    )
    policy = whole.part("policy")
    if policy is not None:
        preset, changes = read_policy(policy)
        found = attrs.evolve(found, preset=preset, policy=changes)
    whole.done()
    return found


def plain_copy(document: Document) -> object:
    """Return a document's value as a copy of plain values, whose texts can all be written."""
    try:
        text = json.dumps(document.value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise ScenarioError(f"{document.name}: a text holds half a character; write it whole") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{document.name}: not made of plain values: {error}") from None
    return json.loads(text)


@attrs.define
class Names:
    """The names a scenario gives, so that nothing refers to what is not there."""

    accounts: dict[str, str]
    first: str | None = None
    users: dict[str, str] = attrs.field(factory=dict[str, str])
    codes: dict[str, str] = attrs.field(factory=dict[str, str])

    @classmethod
    def of(cls, accounts: tuple[AccountPlan, ...]) -> Names:
        """Collect the names and AppIDs of the accounts; both lead to the same one."""
        found: dict[str, str] = {}
        for plan in accounts:
            for name in filter(None, (plan.name, plan.appid)):
                if name in found:
                    raise ScenarioError(f"{plan.where}: there are two accounts {name!r}; give each its own name")
                found[name] = plan.name or name
        first = (accounts[0].name or accounts[0].appid) if accounts else None
        return cls(found, first)

    def add(self, plan: UserPlan | CodePlan) -> None:
        """Take the name of a user or a code in."""
        known, what = (self.users, "users") if isinstance(plan, UserPlan) else (self.codes, "QR codes")
        key = f"{plan.account}|{plan.name}"
        if key in known:
            raise ScenarioError(f"{plan.where}: there are two {what} {plan.name!r}; give each its own name")
        known[key] = plan.name

    def account(self, part: Part) -> str | None:
        """Read the account a part is about: a name or an AppID; without one, the scenario's first account."""
        part.raw("account")
        if "account" not in part:
            return self.first
        name = part.text("account")
        if self.accounts and name not in self.accounts:
            part.fail("account", f"no account is called {name!r}; {nearest(name, self.accounts)}")
        return self.accounts.get(name, name)


def one_or_more(part: Part, name: str) -> list[Part]:
    """Read a mapping, or a list of them."""
    if isinstance(part.raw(name), Mapping):
        one = part.part(name)
        return [one] if one is not None else []
    return part.parts(name)


def read_followers(whole: Part) -> int:
    """Read how many nameless followers there are."""
    count = whole.whole("followers") or 0
    if not 0 <= count <= MAX_FOLLOWERS:
        whole.fail("followers", f"must be between 0 and {MAX_FOLLOWERS}")
    return count


def read_clock(part: Part | None) -> ClockPlan | None:
    """Read the clock: ``start``, and ``speed`` or ``frozen``."""
    if part is None:
        return None
    start, speed, frozen = part.moment("start"), part.number("speed"), part.flag("frozen")
    part.done()
    if frozen and speed:
        part.fail("speed", "a frozen clock has no speed; keep one of the two")
    if speed is not None and speed < 0:
        part.fail("speed", "must not be negative")
    return ClockPlan(start, 0.0 if frozen else speed if speed is not None else 1.0)


def read_account(part: Part) -> AccountPlan:
    """Read one account."""
    secret, variable = part.text("secret"), part.variable("secret")
    if REAL_SECRET.fullmatch(secret) and variable is None:
        part.fail("secret", "this looks like a real AppSecret; write ${NAME} and put it into that environment variable")
    callback = part.part("callback")
    settings: dict[str, object] = {name: part.flag(name) for name in ACCOUNT_FLAGS if name in part}
    settings |= {name: list(part.texts(name)) for name in ACCOUNT_LISTS if name in part}
    for name in (*ACCOUNT_FLAGS, *ACCOUNT_LISTS):
        part.raw(name)
    plan = AccountPlan(
        where=part.where(),
        name=part.text("name"),
        appid=part.text("appid") or None,
        secret=secret or None,
        secret_variable=variable,
        kind="subscription"
        if part.choice("kind", ("service", "subscription"), "service") == "subscription"
        else "service",
        test=part.flag("test"),
        verified=part.flag("verified", default=True),
        ip_list=part.texts("ip_list") if part.raw("ip_list") is not None else None,
        settings=settings,
        callback=read_callback(callback) if callback is not None else None,
    )
    part.done()
    return plan


def read_callback(part: Part) -> CallbackPlan:
    """Read the server configuration of an account."""
    plan = CallbackPlan(
        where=part.where(),
        url=part.needed("url"),
        token=part.needed("token"),
        encoding_aes_key=part.text("encoding_aes_key") or None,
        mode=part.choice("mode", ("plain", "compatible", "safe"), "") or None,
        format=part.choice("format", ("xml", "json"), "xml"),
    )
    part.done()
    return plan


def read_user(part: Part, names: Names) -> UserPlan:
    """Read one person."""
    platform = part.choice("platform", tuple(PLATFORMS), "")
    plan = UserPlan(
        where=part.where(),
        name=part.needed("name"),
        account=names.account(part),
        follow=part.flag("follow", default=True),
        tags=part.texts("tags"),
        platform=PLATFORMS[platform] if platform else None,
        language=part.text("language"),
        remark=part.text("remark"),
        blacklisted=part.flag("blacklisted"),
    )
    part.done()
    return plan


def read_tags(whole: Part, names: Names) -> list[TagPlan]:
    """Read the tags: names, or mappings with a name and an account."""
    found: list[TagPlan] = []
    for place, item in enumerate(as_list(whole.raw("tags") or []) or whole.texts("tags")):
        if isinstance(item, str):
            found.append(TagPlan(whole.where("tags"), item, names.first))
            continue
        part = Part(whole.document, ("tags", place))
        found.append(TagPlan(part.where(), part.needed("name"), names.account(part)))
        part.done()
    return found


def read_menu(part: Part, names: Names) -> MenuPlan:
    """Read the menus of one account."""
    conditional: list[JsonObject] = []
    for item in part.parts("conditional"):
        rule = item.part("matchrule")
        if rule is None:
            item.fail(None, "matchrule is missing; say for whom, such as matchrule: {tag: vip}")
        found: JsonObject = {name: rule.raw(name) for name in ("tag_id", "client_platform_type") if name in rule}
        if "tag" in rule:
            found["tag"] = rule.text("tag")
        if "platform" in rule:
            found["client_platform_type"] = PLATFORMS[rule.choice("platform", tuple(PLATFORMS), "ios")]
        for name in ("tag_id", "client_platform_type", "tag", "platform"):
            rule.raw(name)
        rule.done()
        conditional.append({"button": buttons(item, "button"), "matchrule": found, "where": item.where()})
        item.done()
    default = buttons(part, "default") if "default" in part else part.raw("default")
    plan = MenuPlan(part.where(), names.account(part), default, tuple(conditional))
    part.done()
    return plan


def buttons(part: Part, name: str) -> object:
    """Read the buttons of a menu: a list, or the platform's ``{"button": [...]}``."""
    value = part.raw(name)
    inner = as_object(value)
    if inner is not None and set(inner) == {"button"}:
        value = inner["button"]
    if as_list(value) is None:
        part.fail(name, "must be a list of buttons")
    return value


def read_template(part: Part, names: Names) -> TemplatePlan:
    """Read one template."""
    industry = part.whole("industry")
    plan = TemplatePlan(
        where=part.where(),
        title=part.needed("title"),
        content=part.needed("content"),
        template_id=part.text("template_id"),
        industry=industry if industry is not None else 1,
        account=names.account(part),
    )
    part.done()
    return plan


def read_code(part: Part, names: Names) -> CodePlan:
    """Read one QR code."""
    scene = part.raw("scene")
    if isinstance(scene, bool) or not isinstance(scene, int | str) or scene == "":
        part.fail("scene" if "scene" in part else None, "a QR code needs a scene: a number or a text")
    plan = CodePlan(
        where=part.where(),
        name=part.text("name", str(scene)),
        scene=scene,
        permanent=part.flag("permanent"),
        seconds=part.seconds("expires"),
        account=names.account(part),
    )
    if plan.permanent and plan.seconds is not None:
        part.fail("expires", "a permanent code never expires; keep one of the two")
    part.done()
    return plan


def read_merchant(part: Part, names: Names) -> MerchantPlan:
    """Read one merchant."""
    account = names.account(part)
    texts = ("mchid", "name", "api_v3_key", "api_v2_key", "private_key", "serial")
    settings: dict[str, object] = {name: part.text(name) for name in texts if name in part}
    settings["scheme"] = part.choice("scheme", ("public_key", "certificate", "both"), "both")
    settings["appids"] = part.texts("appids")
    for name in texts:
        part.raw(name)
    part.done()
    return MerchantPlan(part.where(), account, settings)


def read_rule(part: Part, names: Names, known: tuple[str, ...] = ()) -> FaultPlan:
    """Read one fault rule; durations may be written as such, ``since`` and ``until`` also as instants."""
    # A rule without an account is about all of them.
    account = names.account(part) if "account" in part else None
    part.raw("account")
    fields: JsonObject = {}
    moments: set[str] = set()
    for name in part.keys():  # noqa: SIM118  (a part is no mapping)
        if name in {"account", *known}:
            continue
        if name not in RULE_FIELDS:
            part.fail(name, f"unknown key {name!r}; {nearest(name, {*RULE_FIELDS, 'account'})}")
        value = part.raw(name)
        if name in FAULT_TIMES and isinstance(value, str) and read_moment(value) is not None:
            moments.add(name)
            value = part.moment(name)
        elif name in FAULT_TIMES | FAULT_DURATIONS:
            value = part.seconds(name, back=True)
        fields[name] = value
    try:
        read_fault(fields)
    except WorldError as error:
        part.fail(None, str(error))
    if account is not None and "appid" in fields:
        part.fail("appid", "account and appid say the same; keep one of the two")
    return FaultPlan(part.where(), fields, frozenset(moments), account)


STEP_KEYS: Final = ("at", "after", "user", "do", "repeat")


def read_step(part: Part, names: Names) -> StepPlan:
    """Read one step of the timeline."""
    do = part.needed("do")
    action = ACTIONS.get(do)
    if action is None:
        part.fail("do", f"nothing is called {do!r}; {nearest(do, ACTIONS)}")
    account, user = names.account(part), part.text("user") or None
    if user is not None and f"{account}|{user}" not in names.users:
        known = {name for key, name in names.users.items() if key.startswith(f"{account}|")}
        part.fail("user", f"no user of this account is called {user!r}; {nearest(user, known)}; or add it to users")
    if user is None and action.who == "user":
        part.fail(None, f"{do} needs a user; add user: and a name")
    if user is not None and action.who == "world":
        part.fail("user", f"{do} is nothing a user does; remove user")
    at, moment, after = read_time(part)
    every, times = read_repetition(part.part("repeat"))
    fault = read_rule(part, names, STEP_KEYS) if do == "fault" else None
    args: JsonObject = {} if fault is not None else read_args(part, do, names, account)
    if fault is None:
        part.done()
    return StepPlan(part.where(), do, at, moment, after, user, account, args, fault, every, times)


def read_repetition(part: Part | None) -> tuple[float, int]:
    """Read how often a step happens, and how many seconds lie between."""
    if part is None:
        return 0.0, 1
    every, times = part.seconds("every"), part.whole("times")
    if not every or times is None or not 1 <= times <= MAX_EVENTS:
        part.fail(None, f"a repetition needs both every: (a duration) and times: (1 to {MAX_EVENTS})")
    part.done()
    return every, times


def read_time(part: Part) -> tuple[float | None, float | None, float]:
    """Read when a step happens: ``at`` a time from the start or an instant, or ``after`` the step before."""
    if "at" in part and "after" in part:
        part.fail("after", "a step has at or after, not both")
    after = part.seconds("after") or 0.0
    value = part.raw("at")
    if value is None:
        return None, None, after
    if isinstance(value, str) and read_moment(value) is not None:
        return None, part.moment("at"), 0.0
    return part.seconds("at"), None, 0.0


def read_args(part: Part, do: str, names: Names, account: str | None) -> JsonObject:
    """Read the further keys of a step."""
    action = ACTIONS[do]
    found: JsonObject = {}
    for name, kind in action.fields.items():
        if part.raw(name) is not None:
            found[name] = read_field(part, name, kind)
    for name in action.needed:
        if name not in found:
            part.fail(None, f"{name} is missing; {do} needs it")
    if do == "scan":
        if ("code" in found) == ("ticket" in found):
            part.fail(None, "scan needs either code (the name of one of the qr_codes) or ticket")
        if "code" in found and f"{account}|{found['code']}" not in names.codes:
            part.fail(
                "code", f"no QR code is called {found['code']!r}; {nearest(str(found['code']), names.codes.values())}"
            )
    if do in {"clock", "account"} and not found:
        part.fail(None, f"{do} does nothing here; say what: {', '.join(action.fields)}")
    return found


def read_field(part: Part, name: str, kind: FieldKind) -> object:
    """Read one further key of a step."""
    if isinstance(kind, tuple):
        return part.choice(name, kind, kind[0])
    if kind == "texts":
        return list(part.texts(name))
    if kind == "object":
        if as_object(part.raw(name)) is None:
            part.fail(name, "must be a mapping")
        return part.raw(name)
    readers: dict[str, Callable[[str], object]] = {
        "text": part.text,
        "whole": part.whole,
        "number": part.number,
        "flag": part.flag,
        "seconds": part.seconds,
        "back": lambda key: part.seconds(key, back=True),
        "moment": part.moment,
        "any": part.raw,
    }
    return readers[kind](name)


# --- the policy ---------------------------------------------------------------------------------------------------


def read_policy(part: Part, policy: Policy | None = None) -> tuple[Literal["2021", "2023"] | None, dict[str, object]]:
    """Read changes of the policy: any field by its name, with its type; ``preset`` takes the rules of a year.

    Tables such as ``daily_quotas`` are changed entry by entry.
    """
    hints = get_type_hints(Policy)
    preset = part.choice("preset", ("2021", "2023"), "")
    year: Literal["2021", "2023"] | None = "2021" if preset == "2021" else "2023" if preset else None
    base = Policy.preset(year) if year is not None else policy if policy is not None else Policy()
    found: dict[str, object] = {}
    for name in part.keys():  # noqa: SIM118  (a part is no mapping)
        if name == "preset":
            continue
        hint: object = hints.get(name)
        if hint is None:
            part.fail(name, f"the policy has no {name!r}; {nearest(name, hints)}")
        try:
            value = fitted(part.raw(name), hint)
        except ValueError as error:
            part.fail(name, str(error))
        if isinstance(value, dict):
            value = {**cast("Mapping[str, object]", getattr(base, name)), **cast("Mapping[str, object]", value)}
        found[name] = value
    return year, found


def policy_changes(values: Mapping[str, object], policy: Policy, name: str) -> Policy:
    """Return a policy with fields changed by their names, checked as in a scenario.

    Raises:
        ScenarioError: An unknown field or a wrong value.
    """
    preset, changes = read_policy(Part(Document(name, dict(values))), policy)
    base = Policy.preset(preset) if preset is not None else policy
    return attrs.evolve(base, **cast("dict[str, Any]", changes))


def fitted(value: object, hint: object) -> object:
    """Return a plain value as the type wants it.

    Raises:
        ValueError: It does not fit, and what would.
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return fitted_choice(value, options)
    if origin in {Union, UnionType}:
        if value is None and type(None) in options:
            return None
        return fitted(value, next(option for option in options if option is not type(None)))
    if origin is tuple:
        return fitted_tuple(value, options)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = as_object(value)
        if inner is None:
            raise ValueError("must be a mapping")
        return {key: fitted(item, options[1]) for key, item in inner.items()}
    if isinstance(hint, type) and attrs.has(hint):
        return fitted_record(value, hint)
    return fitted_plain(value, hint)


def fitted_choice(value: object, options: tuple[object, ...]) -> object:
    """Return one of a few values; a number stands for its text."""
    for option in options:
        if option == value or (isinstance(option, str) and not isinstance(value, bool) and option == str(value)):
            return option
    raise ValueError(f"must be one of {', '.join(str(option) for option in options)}, not {value!r}")


def fitted_tuple(value: object, options: tuple[object, ...]) -> object:
    """Return a list as a tuple, of any length or of a fixed one."""
    items = as_list(value)
    if items is None:
        raise ValueError(f"must be a list, not {value!r}")
    if options[1:] == (Ellipsis,):
        return tuple(fitted(item, options[0]) for item in items)
    if len(items) != len(options):
        raise ValueError(f"must be a list of {len(options)} values")
    return tuple(fitted(item, option) for item, option in zip(items, options, strict=True))


def fitted_record(value: object, kind: type) -> object:
    """Return a mapping as a record, such as a daily quota."""
    inner = as_object(value)
    hints = get_type_hints(kind)
    if inner is None or set(inner) - set(hints):
        raise ValueError(f"must be a mapping with {', '.join(hints)}")
    missing = [field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING and field.name not in inner]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing; a mapping with {', '.join(hints)} is wanted")
    return kind(**{name: fitted(item, hints[name]) for name, item in inner.items()})


def fitted_plain(value: object, hint: object) -> object:
    """Return true or false, a number or a text."""
    if hint is bool:
        if isinstance(value, bool):
            return value
        raise ValueError(f"must be true or false, not {value!r}")
    if hint is str:
        if isinstance(value, str):
            return value
        raise ValueError(f"must be a text, not {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if hint is float:
            return float(value)
        if isinstance(value, int):
            return value
    raise ValueError(f"must be a {'whole ' if hint is int else ''}number, not {value!r}")


# --- applying -----------------------------------------------------------------------------------------------------


def clock_of(plan: ClockPlan | None) -> Clock:
    """Return the clock of a scenario: the real one where it says nothing."""
    if plan is None:
        return Clock.real()
    if plan.speed == 0:
        return Clock.frozen() if plan.start is None else Clock.frozen(plan.start)
    return Clock(start=plan.start, speed=plan.speed)


def build(
    scenario: Scenario,
    *,
    seed: int | None = None,
    clock: Clock | None = None,
    policy: Policy | None = None,
    appid: str | None = None,
    secret: str | None = None,
) -> World:
    """Make a world from a scenario.

    Args:
        scenario: The scenario.
        seed: Instead of its seed.
        clock: Instead of its clock.
        policy: Instead of its policy.
        appid: AppID of the default account, for a scenario that names no accounts.
        secret: And its AppSecret.

    Raises:
        ScenarioError: What the world refuses, and where it stands.
    """
    if scenario.accounts:
        appid, secret = scenario.accounts[0].appid, scenario.accounts[0].secret
    seed = seed if seed is not None else scenario.seed if scenario.seed is not None else 1
    world = World(
        policy if policy is not None else scenario.changed(),
        clock if clock is not None else clock_of(scenario.clock),
        seed,
        appid=appid,
        secret=secret,
    )
    Builder(world, scenario).run()
    return world


def apply(world: World, scenario: Scenario, *, fresh: bool = False) -> Applied:
    """Let a scenario take place in a world that is there already.

    Args:
        world: The world. Accounts with a known AppID are changed, others are added; an account without an AppID that
            comes first means the default one.
        scenario: The scenario.
        fresh: Start the world again from nothing first. Only then does the scenario's seed count, and its first
            account becomes the default one.

    Returns:
        What its names have become.

    Raises:
        ScenarioError: What the world refuses, and where it stands. What came before has taken place.
    """
    with world.lock:
        if fresh and scenario.seed is not None:
            world.seed = scenario.seed
        plan = scenario.clock
        if plan is not None:
            if plan.start is not None:
                world.clock.set(plan.start)
            world.clock.set_speed(plan.speed)
        world.policy = scenario.changed(world.policy)
        if fresh:
            world.reset()
            # Without the people and accounts a world has by itself: a scenario says who there is.
            world.state = WorldState(dice=Dice(world.seed), started_at=world.now())
            first = scenario.accounts[0] if scenario.accounts else None
            account = world.add_account(first.appid, first.secret) if first is not None else world.add_account()
            world.state.default_appid = account.appid
        applied = Builder(world, scenario).run()
        world.announce()
        return applied


class Builder:
    """Puts a scenario into a world, part by part."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        self._start = world.now()
        self._accounts: dict[str, str] = {}
        self._users: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._templates: dict[str, str] = {}

    def run(self) -> Applied:
        """Do it all, in the order in which one part needs another."""
        world, scenario = self._world, self._scenario
        with world.lock:
            world.state.story = Story(scenario.name, self._start)
            for place, account in enumerate(scenario.accounts):
                self._account(account, first=place == 0)
            for tag in scenario.tags:
                self._tag(tag)
            world.create_followers(scenario.followers)
            for user in scenario.users:
                self._user(user)
            for menu in scenario.menus:
                self._menu(menu)
            for template in scenario.templates:
                self._template(template)
            for code in scenario.codes:
                self._code(code)
            merchants = tuple(self._merchant(merchant) for merchant in scenario.merchants)
            for rule in scenario.faults:
                self._fault(rule)
            # Last of all: what comes before is the state of things when the story begins, and nothing is pushed.
            for account in scenario.accounts:
                self._callback(account)
            events = self._steps()
        codes = {key.partition("|")[2]: ticket for key, ticket in self._codes.items()}
        users = {key.partition("|")[2]: openid for key, openid in self._users.items()}
        return Applied(self._accounts, users, codes, self._templates, merchants, events)

    def _find(self, name: str | None, where: str) -> Account:
        try:
            return self._world.account_of(None if name is None else self._accounts.get(name, name))
        except WorldError:
            known = {*self._accounts, *self._world.state.accounts}
            raise ScenarioError(f"{where}: no account is called {name!r}; {nearest(str(name), known)}") from None

    def _account(self, plan: AccountPlan, *, first: bool) -> None:
        world = self._world
        account = world.state.accounts.get(plan.appid) if plan.appid is not None else world.account if first else None
        if account is None:
            account = world.add_account(plan.appid, plan.secret)
        if plan.secret is not None:
            account.secret = plan.secret
        account.kind, account.test, account.verified = plan.kind, plan.test, plan.verified
        account.ip_list = None if plan.ip_list is None else list(plan.ip_list)
        if plan.name:
            account.name = plan.name
            self._accounts[plan.name] = account.appid
        for name, value in plan.settings.items():
            setattr(account, name, value)
        self._accounts[account.appid] = account.appid

    def _callback(self, plan: AccountPlan) -> None:
        callback = plan.callback
        if callback is None:
            return
        try:
            self._world.set_callback(
                callback.url,
                token=callback.token,
                encoding_aes_key=callback.encoding_aes_key,
                mode=cast("CallbackMode | None", callback.mode),
                format=cast("CallbackFormat", callback.format),
                appid=self._accounts.get(plan.name) or plan.appid,
            )
        except CallbackError as error:
            raise ScenarioError(f"{callback.where}: {error}") from None

    def _tag(self, plan: TagPlan) -> None:
        account = self._find(plan.account, plan.where)
        if not any(tag.name == plan.name for tag in account.tags.values()):
            new_tag(account, plan.name)

    def _user(self, plan: UserPlan) -> None:
        world, account = self._world, self._find(plan.account, plan.where)
        user = account.users[world.user(plan.name, appid=account.appid).openid]
        person = world.person_of(user)
        person.platform = plan.platform or person.platform
        person.language = plan.language or person.language
        if plan.follow and not user.following:
            user.following = user.ever_followed = True
            user.subscribe_time = int(self._start)
        user.remark, user.blacklisted = plan.remark or user.remark, plan.blacklisted
        for name in plan.tags:
            user.tags.append(self._tag_id(account, name, plan.where))
        self._users[f"{plan.account}|{plan.name}"] = user.openid

    def _tag_id(self, account: Account, name: str, where: str) -> int:
        for tag in account.tags.values():
            if tag.name == name:
                return tag.id
        known = {tag.name for tag in account.tags.values()}
        raise ScenarioError(f"{where}: the account has no tag {name!r}; {nearest(name, known)}; or add it to tags")

    def _ask(self, account: Account, body: JsonObject, where: str, handler: Callable[[Call], object]) -> object:
        """Do something by the platform's own rules, as the account's server would."""
        call = Call(world=self._world, request=Request("POST", "/"), now=self._start, account=account, body=body)
        try:
            return handler(call)
        except Refusal as refusal:
            raise ScenarioError(f"{where}: the platform refuses it with {refusal.errcode}: {refusal.why}") from None

    def _menu(self, plan: MenuPlan) -> None:
        account = self._find(plan.account, plan.where)
        if plan.default is not None:
            self._ask(account, {"button": plan.default}, plan.where, menu_family.create)
        for menu in plan.conditional:
            where, rule = str(menu["where"]), dict(as_object(menu["matchrule"]) or {})
            if "tag" in rule:
                rule["tag_id"] = self._tag_id(account, str(rule.pop("tag")), where)
            body: JsonObject = {"button": menu["button"], "matchrule": rule}
            self._ask(account, body, where, menu_family.add_conditional)

    def _template(self, plan: TemplatePlan) -> None:
        account = self._find(plan.account, plan.where)
        if plan.template_id:
            known = account.templates
            known[plan.template_id] = Template(plan.template_id, plan.title, plan.content, industry=plan.industry)
            self._templates[plan.title] = plan.template_id
        else:
            self._templates[plan.title] = self._world.add_template(
                plan.title, plan.content, appid=account.appid, industry=plan.industry
            )

    def _code(self, plan: CodePlan) -> None:
        account = self._find(plan.account, plan.where)
        text = isinstance(plan.scene, str)
        body: JsonObject = {
            "action_name": f"QR_{'LIMIT_' if plan.permanent else ''}{'STR_' if text else ''}SCENE",
            "action_info": {"scene": {"scene_str" if text else "scene_id": plan.scene}},
        }
        if not plan.permanent:
            body["expire_seconds"] = int(plan.seconds if plan.seconds is not None else 2_592_000)
        answer = as_object(self._ask(account, body, plan.where, qrcode_family.create)) or {}
        self._codes[f"{plan.account}|{plan.name}"] = str(answer["ticket"])

    def _merchant(self, plan: MerchantPlan) -> str:
        account = self._find(plan.account, plan.where)
        settings = cast("dict[str, Any]", dict(plan.settings))
        from wxmp.simulator.pay import ledger

        try:
            return ledger.add_merchant(self._world, settings.pop("mchid", None), account.appid, **settings).mchid
        except WorldError as error:
            raise ScenarioError(f"{plan.where}: {error}") from None

    def _fault(self, plan: FaultPlan) -> None:
        self._world.faults.add(read_fault(plan.at(self._start, self._appid(plan.account, plan.where))))

    def _appid(self, account: str | None, where: str) -> str | None:
        return None if account is None else self._find(account, where).appid

    def _steps(self) -> int:
        world, due, count = self._world, self._start, 0
        for plan in self._scenario.steps:
            if plan.moment is not None:
                due = plan.moment
            else:
                due = self._start + plan.at if plan.at is not None else due + plan.after
            if due < self._start:
                raise ScenarioError(f"{plan.where}: this was before the clock's start; choose a later time")
            for turn in range(plan.times):
                due += plan.every if turn else 0.0
                count += 1
                if count > MAX_EVENTS:
                    raise ScenarioError(f"{plan.where}: more than {MAX_EVENTS} steps; repeat fewer times")
                account = self._find(plan.account, plan.where)
                world.schedule(due - world.now(), EVENT_KIND, account, self._event(plan, due))
        return count

    def _event(self, plan: StepPlan, due: float) -> JsonObject:
        args = plan.args
        if plan.fault is not None:
            args = plan.fault.at(due, self._appid(plan.fault.account, plan.where))
        elif "code" in args:
            args = {"ticket": self._codes[f"{plan.account}|{args['code']}"]}
        text = plan.do if plan.user is None else f"{plan.user}: {plan.do}"
        event: JsonObject = {"do": plan.do, "args": dict(args), "where": plan.where, "text": text}
        if plan.user is not None:
            event["openid"] = self._users[f"{plan.account}|{plan.user}"]
        return event
