"""What the simulated platform does where the real one is undocumented, disputed or changeable.

Every rule that rests on less than an official page is a named field here and never a literal in a handler, so that a
correction from the field is a one-line change. Comments give the confidence of each default:

``[D]`` official documentation, ``[F]`` field reports or other SDKs, ``[K]`` general knowledge, ``[S]`` our own choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import attrs

__all__ = ["Allowance", "DailyQuota", "Policy"]

DAY = 86_400.0
MIB = 1 << 20


@attrs.frozen
class DailyQuota:
    """Calls a day for one path: an ordinary account and a test account (测试号). ``None`` means no limit."""

    ordinary: int | None
    test: int | None


@attrs.frozen
class Allowance:
    """How many customer-service messages one user action opens, and for how many seconds. ``None`` means no limit."""

    messages: int | None
    seconds: float


# [D] The quota table of the developer guide; tags are assumed to follow the old group rows.
DAILY_QUOTAS: Mapping[str, DailyQuota] = MappingProxyType(
    {
        "/cgi-bin/token": DailyQuota(2_000, 200),
        "/cgi-bin/stable_token": DailyQuota(500_000, 500_000),
        "/cgi-bin/menu/create": DailyQuota(1_000, 100),
        "/cgi-bin/menu/get": DailyQuota(10_000, 1_000),
        "/cgi-bin/menu/delete": DailyQuota(1_000, 100),
        "/cgi-bin/menu/addconditional": DailyQuota(2_000, 2_000),
        "/cgi-bin/menu/delconditional": DailyQuota(2_000, 2_000),
        "/cgi-bin/menu/trymatch": DailyQuota(20_000, 20_000),
        "/cgi-bin/groups/create": DailyQuota(1_000, 100),
        "/cgi-bin/groups/get": DailyQuota(1_000, 100),
        "/cgi-bin/groups/update": DailyQuota(1_000, 100),
        "/cgi-bin/groups/members/update": DailyQuota(100_000, 1_000),
        "/cgi-bin/tags/create": DailyQuota(1_000, 100),
        "/cgi-bin/tags/get": DailyQuota(1_000, 100),
        "/cgi-bin/tags/update": DailyQuota(1_000, 100),
        "/cgi-bin/message/custom/send": DailyQuota(500_000, 50_000),
        "/cgi-bin/message/template/send": DailyQuota(100_000, 100_000),
        "/cgi-bin/qrcode/create": DailyQuota(100_000, 10_000),
        "/cgi-bin/user/get": DailyQuota(500, 100),
        "/cgi-bin/user/info": DailyQuota(5_000_000, 500_000),
        "/cgi-bin/user/info/updateremark": DailyQuota(10_000, 10_000),
        # [K] The official text says only "very limited"; community notes start at 2000.
        "/cgi-bin/ticket/getticket": DailyQuota(2_000, 200),
    }
)

# [D] Calls a minute (45011).
MINUTE_QUOTAS: Mapping[str, int] = MappingProxyType(
    {
        "/cgi-bin/stable_token": 10_000,
        "/sns/oauth2/access_token": 50_000,
        "/sns/oauth2/refresh_token": 50_000,
        "/sns/userinfo": 50_000,
    }
)

# [D] Rules since 2023-06-12.
ALLOWANCES_2023: Mapping[str, Allowance] = MappingProxyType(
    {
        "write": Allowance(5, 2 * DAY),
        "menu": Allowance(3, 60.0),
        "follow": Allowance(3, 60.0),
        "scan": Allowance(3, 60.0),
        "pay": Allowance(None, 2 * DAY),
    }
)

# [D] The older rules, still found in most tutorials.
ALLOWANCES_2021: Mapping[str, Allowance] = MappingProxyType(
    {
        "write": Allowance(20, 2 * DAY),
        "menu": Allowance(3, 60.0),
        "follow": Allowance(3, 60.0),
        "scan": Allowance(3, 60.0),
        "pay": Allowance(20, 2 * DAY),
    }
)


@attrs.frozen(kw_only=True)
class Policy:
    """Every adjustable rule of the simulated platform.

    All times are seconds. Use ``attrs.evolve(policy, ...)`` to change single fields, or :meth:`preset`.
    """

    # --- wire -------------------------------------------------------------------------------------------------
    strict_paths: bool = True  # [S] unknown path: refused with unknown_path_errcode; False: answered "ok", journalled
    unknown_path_errcode: int = 40066  # [K]
    strict_verbs: bool = True  # [F] 43001 / 43002
    escapes_refused: tuple[str, ...] = ("/cgi-bin/menu/create", "/cgi-bin/menu/addconditional")  # [F] 40033
    escapes_refused_errcode: int = 40033  # [F] 47002 is named too
    escapes_literal: tuple[str, ...] = ("/cgi-bin/message/custom/send",)  # [F] shown to the user as \uXXXX
    max_body: int = 2 * MIB  # [S]
    max_upload_body: int = 12 * MIB  # [S] of a multipart body; the limits of each kind of file come on top
    sns_content_type: str = "text/plain"  # [F] the OAuth answers are labelled so
    binary_error_content_type: str = "application/json; encoding=utf-8"  # [F] "encoding", not "charset"
    rid_life: float = 7 * DAY  # [K]
    trust_client_ip_header: bool = True  # [S] X-Client-IP stands for the caller's address; loopback has only one

    # --- access tokens ----------------------------------------------------------------------------------------
    token_life: int = 7200  # [D] announced as expires_in
    token_true_life: float | None = None  # [S] a life that differs from the announced one; None: the same
    token_overlap: float = 300.0  # [D] the previous token lives on after a plain fetch or a stable rotation
    plain_generations: int = 2  # [S] tokens of the plain channel alive at once; a third fetch kills the first
    stable_rotate_before: float = 300.0  # [D] a normal call mints the next token in the last seconds of life
    stable_min_force_gap: float = 30.0  # [D] an earlier forced call does not refresh
    stable_forced_per_day: int = 20  # [D]
    stable_forced_overlap: float = 0.0  # [D] no overlap promised; the leak procedure hints that some may exist
    stable_over_forced: Literal["ignore", "45009"] = "ignore"  # [S] the 21st forced call: no refresh, or an error
    token_text_length: int = 136  # [F] characters after "NN_"
    wrong_secret_errcode: int = 40125  # [D] older accounts answer 40001
    unlisted_ip_errcode: int = 40164  # [D] one official page names 61004
    risk_refusal_hours: float = 1.0  # [F] 89507 after the first refusal
    risk_block_hours: float = 24.0  # [F] 89506 after a further refusal
    dead_tokens_kept: int = 1_000  # [S] older ones are forgotten and answer 40014

    # --- quotas -----------------------------------------------------------------------------------------------
    daily_quotas: Mapping[str, DailyQuota] = DAILY_QUOTAS
    default_daily_quota: DailyQuota = DailyQuota(1_000_000, 100_000)  # [S] paths the table does not name
    minute_quotas: Mapping[str, int] = MINUTE_QUOTAS
    default_minute_quota: int | None = None  # [S] the guide names no general limit
    quota_clears_per_month: int = 10  # [D] shared by clear_quota and clear_quota/v2
    path_clears_per_month: int = 50  # [D]
    quota_day_offset_hours: float = 8.0  # [K] counters start again at 00:00 Asia/Shanghai

    # --- menus ------------------------------------------------------------------------------------------------
    menu_max_buttons: int = 3  # [D]
    menu_max_sub_buttons: int = 5  # [D]
    menu_name_bytes: int = 16  # [D]
    menu_sub_name_bytes: int = 60  # [D]
    menu_key_bytes: int = 128  # [D]
    menu_url_bytes: int = 1024  # [D]
    menu_max_domains: int = 3  # [F] of all conditional menus together (65316)
    menu_condition_key: str = "group_id"  # [K] how menu/get names the tag of a rule

    # --- users, tags, groups, blacklist -----------------------------------------------------------------------
    follower_page: int = 10_000  # [D]
    last_page_cursor: Literal["empty", "last_openid"] = "empty"  # [K] next_openid on the last page
    user_batch: int = 100  # [D]
    remark_chars: int = 30  # [K] documented once as bytes, once as characters
    max_tags: int = 100  # [D]
    tag_name_limit: int = 30  # [D]
    tag_name_unit: Literal["characters", "bytes"] = "characters"  # [D] the pages disagree
    first_tag_id: int = 100  # [F] ids given to new tags and groups
    shown_builtin_tags: tuple[int, ...] = (2,)  # [F] which of the ids 0, 1, 2 tags/get lists
    tags_per_user: int = 20  # [F]
    tag_batch: int = 50  # [K]
    tag_partial_failure: bool = True  # [D] 45171 with fail_openid_list; False: the whole call fails
    tag_delete_max_followers: int = 100_000  # [D] 45057 above
    group_unique_names: bool = False  # [K]
    group_batch: int = 50  # [F]
    blacklist_page: int = 1_000  # [D] older pages say 10 000
    blacklist_batch: int = 20  # [D]
    openid_migration_batch: int = 100  # [D]

    # --- messages ---------------------------------------------------------------------------------------------
    custom_allowances: Mapping[str, Allowance] = ALLOWANCES_2023
    custom_windows_add_up: bool = False  # [D] "allowances do not add up"; True: several open windows do
    custom_text_bytes: int = 2_048  # [F]
    custom_retired_types: tuple[str, ...] = ("mpnews", "wxcard")  # [D]
    typing_contact: float = 30.0  # [F] 45080 without contact in that time
    typing_life: float = 15.0  # [K]
    max_templates: int = 25  # [D]
    template_delay: tuple[float, float] = (0.3, 3.0)  # [S] until TEMPLATESENDJOBFINISH
    client_msg_id_life: float = 600.0  # [K]
    industry_change_days: float = 30.0  # [D] "once a month"
    sent_kept: int = 10_000  # [S] deliveries and pushes remembered per account

    # --- QR codes ---------------------------------------------------------------------------------------------
    qr_default_seconds: int = 60  # [D] older pages say 30
    qr_max_seconds: int = 2_592_000  # [D]
    qr_max_permanent: int = 100_000  # [D]
    qr_limit_scene_max: int = 100_000  # [D]
    qr_scene_out_of_range: Literal["wrap", "refuse"] = "wrap"  # [F] the event then says 4294967295
    qr_rules_per_month: int = 100  # [D]

    # --- web pages and tickets --------------------------------------------------------------------------------
    oauth_code_life: float = 300.0  # [D] one page says 600 for app login
    oauth_expired_code_errcode: int = 42003  # [F] 40029 is named too
    oauth_token_life: int = 7200  # [D]
    oauth_refresh_life: float = 30 * DAY  # [D]
    oauth_state_chars: int = 128  # [K]
    ticket_life: int = 7200  # [K]
    ticket_rotates: bool = True  # [S] every call mints a new ticket, like the plain token
    api_ips: tuple[str, ...] = ("101.89.47.18", "101.91.34.103", "121.51.130.0/24")  # [S] documentation-like values
    callback_ips: tuple[str, ...] = ("101.226.103.0/25", "140.207.54.0/24")  # [S]

    # --- media, materials, drafts, publishing, comments (library) ---------------------------------------------

    # --- mass sends, subscription notices, customer-service staff, datacube (outreach) ------------------------

    # --- WeChat Pay -------------------------------------------------------------------------------------------

    # --- pushes to the developer's server ---------------------------------------------------------------------
    callback_seconds: float = 5.0  # [D] real seconds the server has for an answer
    callback_deliveries: int = 3  # [D] of one push, the first included
    callback_repeats_broken_body: bool = False  # [S] an answer that arrives but cannot be read is not asked for again
    callback_order: Literal["user", "account", "none"] = "user"  # [S] what is delivered one after the other
    callback_concurrency: int = 64  # [S] pushes on their way at once, all accounts together
    callback_queue: int = 10_000  # [S] pushes waiting at once; later ones are dropped
    callback_timestamp: Literal["real", "world"] = "real"  # [S] of the query; a server compares it with its own clock
    callback_hosts: tuple[str, ...] = ()  # [S] further hosts that may be pushed to; loopback always may
    callback_key_overlap: float = 3600.0  # [K] replies under the previous token and key are taken after a change
    callback_answer_bytes: int = 1 << 16  # [S] a longer answer is broken
    callback_trims_answer: bool = False  # [S] whether blanks around "success" are forgiven
    callback_either_format: bool = False  # [S] whether an XML account may answer in JSON, and the other way round
    callback_text_bytes: int = 2_048  # [F] of a text reply
    callback_message_articles: int = 1  # [D] of a news reply to a message
    callback_event_articles: int = 8  # [D] and to an event
    callback_extra_articles: Literal["dropped", "broken"] = "dropped"  # [K] articles over the limit
    # [D] for the first four; of the rest no document speaks
    callback_reply_events: tuple[str, ...] = (
        *("subscribe", "SCAN", "CLICK", "scancode_waitmsg"),
        *("scancode_push", "pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select"),
    )
    callback_notice_events: tuple[str, ...] = ("CLICK",)  # [K] the only events whose failure the user sees
    callback_notice: str = "该公众号提供的服务出现故障，请稍后再试"  # [D] the grey line
    deliveries_kept: int = 10_000  # [S] attempts remembered per account
    chat_kept: int = 1_000  # [S] lines remembered per user

    # --- journal ----------------------------------------------------------------------------------------------
    journal_size: int = 10_000  # [S] exchanges kept
    journal_body: int = 2_048  # [S] characters kept of each body

    @classmethod
    def preset(cls, name: Literal["2021", "2023"]) -> Policy:
        """Return the rules of a year: ``"2021"`` (20 customer-service messages in 48 hours) or ``"2023"`` (today's)."""
        return cls(custom_allowances=ALLOWANCES_2021 if name == "2021" else ALLOWANCES_2023)
