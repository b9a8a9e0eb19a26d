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
        "/cgi-bin/message/mass/sendall": DailyQuota(100, 100),
        "/cgi-bin/message/mass/send": DailyQuota(100, 100),
        "/cgi-bin/message/mass/delete": DailyQuota(10, 10),
        "/cgi-bin/media/uploadnews": DailyQuota(10, 10),
        "/cgi-bin/qrcode/create": DailyQuota(100_000, 10_000),
        "/cgi-bin/user/get": DailyQuota(500, 100),
        "/cgi-bin/user/info": DailyQuota(5_000_000, 500_000),
        "/cgi-bin/user/info/updateremark": DailyQuota(10_000, 10_000),
        "/cgi-bin/media/upload": DailyQuota(100_000, 500),
        "/cgi-bin/media/get": DailyQuota(200_000, 1_000),
        "/cgi-bin/draft/add": DailyQuota(1_000, 1_000),
        "/cgi-bin/draft/update": DailyQuota(1_000, 1_000),
        "/cgi-bin/draft/get": DailyQuota(500, 500),
        "/cgi-bin/draft/delete": DailyQuota(1_000, 1_000),
        "/cgi-bin/draft/count": DailyQuota(1_000, 1_000),
        "/cgi-bin/draft/batchget": DailyQuota(1_000, 1_000),
        "/cgi-bin/freepublish/submit": DailyQuota(100, 100),
        "/cgi-bin/freepublish/get": DailyQuota(100, 100),
        "/cgi-bin/freepublish/delete": DailyQuota(10, 10),
        "/cgi-bin/freepublish/getarticle": DailyQuota(100, 100),
        "/cgi-bin/freepublish/batchget": DailyQuota(100, 100),
        # [K] The official text says only "very limited"; community notes start at 2000.
        "/cgi-bin/ticket/getticket": DailyQuota(2_000, 200),
    }
)

# [D] Days that one call of a statistics endpoint may span; for the unmaintained ones from an older text.
DATACUBE_DAYS: Mapping[str, int] = MappingProxyType(
    {
        "/datacube/getusersummary": 7,
        "/datacube/getusercumulate": 7,
        "/datacube/getarticlesummary": 1,
        "/datacube/getarticletotal": 1,
        "/datacube/getuserread": 3,
        "/datacube/getuserreadhour": 1,
        "/datacube/getusershare": 7,
        "/datacube/getusersharehour": 1,
        "/datacube/getupstreammsg": 7,
        "/datacube/getupstreammsghour": 1,
        "/datacube/getupstreammsgweek": 30,
        "/datacube/getupstreammsgmonth": 30,
        "/datacube/getupstreammsgdist": 15,
        "/datacube/getupstreammsgdistweek": 15,
        "/datacube/getupstreammsgdistmonth": 15,
        "/datacube/getinterfacesummary": 30,
        "/datacube/getinterfacesummaryhour": 1,
    }
)

# [K] The user_source of the statistics for each subscribe_scene of the user interface; others are 0.
DATACUBE_SOURCES: Mapping[str, int] = MappingProxyType(
    {
        "ADD_SCENE_SEARCH": 1,
        "ADD_SCENE_PROFILE_CARD": 17,
        "ADD_SCENE_QR_CODE": 30,
        "ADD_SCENE_PROFILE_LINK": 57,
    }
)

# [D] Free calls a day of the recognition endpoints (101003 beyond); the others have no number in the documents.
AI_FREE_CALLS: Mapping[str, int] = MappingProxyType(
    {
        "/cv/ocr/idcard": 100,
        "/cv/ocr/bankcard": 100,
        "/cv/ocr/driving": 100,
        "/cv/ocr/drivinglicense": 100,
        "/cv/ocr/bizlicense": 100,
        "/cv/ocr/comm": 100,
        "/cv/ocr/platenum": 100,
    }
)

# [D] Calls a minute (45011).
MINUTE_QUOTAS: Mapping[str, int] = MappingProxyType(
    {
        "/cgi-bin/stable_token": 10_000,
        "/sns/oauth2/access_token": 50_000,
        "/sns/oauth2/refresh_token": 50_000,
        "/sns/userinfo": 50_000,
        "/cgi-bin/message/mass/sendall": 60,
        "/cgi-bin/message/mass/send": 60,
    }
)

# [D] What a file may be, by the extension its bytes stand for; permanent material takes more.
MEDIA_FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"image": ("png", "jpg", "gif"), "voice": ("amr", "mp3"), "video": ("mp4",), "thumb": ("jpg",)}
)
MATERIAL_FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("bmp", "png", "jpg", "gif"),
        "voice": ("mp3", "wma", "wav", "amr"),
        "video": ("mp4",),
        "thumb": ("jpg",),
    }
)
# [D] Bytes; for pictures one sentence of the same page says 2 MB.
MEDIA_BYTES: Mapping[str, int] = MappingProxyType(
    {"image": 10 * MIB, "voice": 2 * MIB, "video": 10 * MIB, "thumb": 64 << 10}
)
# [D] Permanent material of each kind; older notes say 5000 pictures and articles.
MATERIAL_LIMITS: Mapping[str, int] = MappingProxyType(
    {"image": 100_000, "news": 100_000, "voice": 1_000, "video": 1_000, "thumb": 1_000}
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
    escapes_literal: tuple[str, ...] = (  # [F] shown to the user as \uXXXX
        *("/cgi-bin/message/custom/send", "/cgi-bin/draft/add", "/cgi-bin/draft/update"),
    )
    max_body: int = 2 * MIB  # [S]
    max_upload_body: int = 12 * MIB  # [S] of a multipart body; the limits of each kind of file come on top
    sns_content_type: str = "text/plain"  # [F] the OAuth answers are labelled so
    binary_error_content_type: str = "application/json; encoding=utf-8"  # [F] "encoding", not "charset"
    rid_life: float = 7 * DAY  # [K]
    date_header_ahead: float = 0.0  # [S] seconds the Date of answers is ahead of this machine: a caller's wrong clock
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
    address_before_secret: bool = True  # [S] an unlisted address is refused before the secret is looked at
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
    quota_shown_error: float = 0.0  # [D] "about 1 %": how far the shown number of used calls may be off

    # --- menus ------------------------------------------------------------------------------------------------
    menu_max_buttons: int = 3  # [D]
    menu_max_sub_buttons: int = 5  # [D]
    menu_name_bytes: int = 16  # [D]
    menu_sub_name_bytes: int = 60  # [D]
    menu_key_bytes: int = 128  # [D]
    menu_url_bytes: int = 1024  # [D]
    menu_max_domains: int = 3  # [F] of all conditional menus together (65316)
    menu_condition_key: str = "group_id"  # [K] how menu/get names the tag of a rule
    menu_material_events: tuple[str, ...] = ("media_id", "view_limited")  # [K] taps that are told; the page says none
    menu_acts_follow: bool = True  # [K] pictures and places chosen through a menu come as messages of their own too
    menu_reread_seconds: float = 300.0  # [F] a phone reads the menu again when it is opened after so long

    # --- users, tags, groups, blacklist -----------------------------------------------------------------------
    follower_page: int = 10_000  # [D]
    last_page_cursor: Literal["empty", "last_openid"] = "empty"  # [K] next_openid on the last page
    user_batch: int = 100  # [D]
    user_profile: Literal["empty", "absent", "filled"] = "empty"  # [K] nickname and place, since 2021-12
    user_language: Literal["filled", "empty"] = "empty"  # [D] "no longer filled"; older answers have it
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
    custom_pay_window_kinds: tuple[str, ...] = ("service",)  # [D] kinds of account a payment opens a window for
    typing_contact: float = 30.0  # [F] 45080 without contact in that time
    typing_life: float = 15.0  # [K]
    typing_contact_acts: tuple[str, ...] = ("write", "menu", "follow", "scan")  # [S] what counts as contact
    blacklist_stops_notices: bool = True  # [K] 43019 for subscription notices and previews as well
    max_templates: int = 25  # [D]
    template_delay: tuple[float, float] = (0.3, 3.0)  # [S] until TEMPLATESENDJOBFINISH
    template_blocked_words: tuple[str, ...] = ("[[blocked]]",)  # [S] held back, and listed by queryblocktmplmsg
    client_msg_id_life: float = 600.0  # [K]
    industry_change_days: float = 30.0  # [D] "once a month"
    sent_kept: int = 10_000  # [S] deliveries and pushes remembered per account

    # --- QR codes ---------------------------------------------------------------------------------------------
    qr_default_seconds: int = 60  # [D] older pages say 30
    qr_max_seconds: int = 2_592_000  # [D]
    qr_max_permanent: int = 100_000  # [D]
    qr_expired_kept: int = 1_000  # [S] expired codes remembered at least: a phone can tell them from unknown ones
    qr_limit_scene_max: int = 100_000  # [D]
    qr_scene_out_of_range: Literal["wrap", "refuse"] = "wrap"  # [F] the event then says 4294967295
    qr_rules_per_month: int = 100  # [D]

    # --- web pages and tickets --------------------------------------------------------------------------------
    oauth_code_life: float = 300.0  # [D] one page says 600 for app login
    oauth_expired_code_errcode: int = 42003  # [F] 40029 is named too
    oauth_token_life: int = 7200  # [D]
    oauth_refresh_life: float = 30 * DAY  # [D]
    oauth_kept: int = 10_000  # [S] codes and tokens of each kind remembered per account; the oldest are forgotten
    oauth_state_chars: int = 128  # [K]
    oauth_state_pattern: str = "[a-zA-Z0-9]*"  # [K]
    # [K] A follower who comes from the chat or the menu (``entry=chat`` here) sees no consent page.
    oauth_silent_for_followers: bool = True
    # [K] Tapping "refuse" on the consent page leaves it; older pages say the visitor comes back without a code.
    oauth_refused: Literal["page", "redirect"] = "page"
    oauth_revoke_ends_tokens: bool = True  # [S] a user who withdraws a permission ends the tokens it gave
    ticket_life: int = 7200  # [K]
    ticket_rotates: bool = True  # [S] every call mints a new ticket, like the plain token
    api_ips: tuple[str, ...] = ("101.89.47.18", "101.91.34.103", "121.51.130.0/24")  # [S] documentation-like values
    callback_ips: tuple[str, ...] = ("101.226.103.0/25", "140.207.54.0/24")  # [S]

    # --- media, materials, drafts, publishing, comments (library) ---------------------------------------------
    media_life: float = 3 * DAY  # [D] of temporary media, also of those that users send
    media_formats: Mapping[str, tuple[str, ...]] = MEDIA_FORMATS
    material_formats: Mapping[str, tuple[str, ...]] = MATERIAL_FORMATS
    media_max_bytes: Mapping[str, int] = MEDIA_BYTES
    media_judged_by: Literal["bytes", "name", "both"] = "both"  # [K] what 40005 looks at
    voice_max_seconds: float = 60.0  # [D] 45007 above
    media_kind_must_fit: bool = True  # [K] a picture sent as a voice message is 40007
    thumb_answer: Literal["thumb_media_id", "media_id", "both"] = "thumb_media_id"  # [K] of an uploaded thumbnail
    media_download_name: Literal["media_id", "uploaded"] = "media_id"  # [D] the name in Content-Disposition
    media_link_content_type: str = "text/plain"  # [F] of the answer that holds a video's link
    media_bytes_kept: int = 256 * MIB  # [S] per account; the oldest temporary media are forgotten
    media_kept: int = 20_000  # [S] temporary media remembered per account
    material_limits: Mapping[str, int] = MATERIAL_LIMITS
    material_counts_thumbs: bool = True  # [K] thumbnails count, and are listed, as pictures
    material_video_errcode: int = 41011  # [K] a permanent video without title or description
    article_image_bytes: int = MIB  # [D] uploadimg, "under 1 MB"
    article_image_formats: tuple[str, ...] = ("jpg", "png")  # [D]
    library_page: int = 20  # [D] entries a page of materials, drafts, publications
    library_page_errcode: int = 40097  # [K] an offset or a count out of range
    library_newest_first: bool = True  # [K] order of the same lists
    old_news_open: bool = True  # [S] add_news and update_news, closed with the draft box; False: 48001
    custom_checks_media: bool = True  # [F] an unknown media_id in a customer-service message is 40007
    menu_checks_media: bool = True  # [K] and in a menu
    article_max_count: int = 8  # [K] of one draft
    article_title_chars: int = 32  # [D] since 2025-12; 64 before
    article_author_chars: int = 16  # [D]
    article_author_errcode: int = 45110  # [K]
    article_digest_chars: int = 128  # [D]
    article_default_digest: int = 54  # [D] characters of the content when a single article has none
    article_mass_digest: int = 64  # [D] the same of uploadnews
    article_content_chars: int = 20_000  # [D] fewer than these
    article_content_bytes: int = MIB  # [D]
    article_source_url_bytes: int = 1_024  # [D]
    article_field_errcode: int = 40035  # [K] a field that is missing or out of its range
    article_foreign_pictures: bool = False  # [D] pictures of other hosts are taken out of the content
    newspic_max_pictures: int = 20  # [D]
    publish_delay: tuple[float, float] = (2.0, 20.0)  # [S] until PUBLISHJOBFINISH
    publish_id_errcode: int = 40002  # [D] an unknown publish_id
    publish_lists_mass: bool = False  # [K] whether the list of publications holds what mass sends brought out
    comment_page: int = 49  # [D] "under 50"
    comment_chars: int = 600  # [K]
    comment_reply_chars: int = 600  # [K] 88007 above
    comment_featured_max: int = 100  # [K] 88003 above
    comment_no_reply_errcode: int = 88009  # [F] 87009 is named too
    comments_shown: Literal["featured", "all"] = "featured"  # [K] which a reader sees
    comments_kept: int = 10_000  # [S] of one article
    reads_kept: int = 100_000  # [S] reads remembered per account

    # --- mass sends, subscription notices, customer-service staff, datacube (outreach) ------------------------
    mass_per_user_month: int = 4  # [D] mass messages a user takes from a service account in a calendar month
    mass_over_allowance: Literal["filter", "error"] = "filter"  # [D] by FilterCount; the guide says "fails"
    mass_to_all_per_day: int = 1  # [D] of a service account
    mass_to_all_per_month: int = 4  # [D] of a service account
    mass_subscription_per_day: int = 1  # [D] of a subscription account, to whomever
    mass_failed_counts: bool = False  # [S] whether a refused or failed send uses up an allowance
    mass_openids: tuple[int, int] = (2, 10_000)  # [D]
    mass_unknown_openids: Literal["error", "refuse"] = "error"  # [S] counted in ErrorCount, or 40031
    mass_text_bytes: int = 2_048  # [K]
    mass_max_images: int = 20  # [K] of an image message (40215)
    mass_single_image: bool = True  # [F] the older form image.media_id is taken too
    mass_client_id_bytes: int = 32  # [D]
    mass_client_id_seconds: float = DAY  # [D] a repetition within is 45065
    mass_client_id_gap: float = 60.0  # [D] and within this 45066
    mass_default_client_id: bool = True  # [D] without a clientmsgid a digest of audience and content stands for it
    mass_protection_seconds: float = 1_800.0  # [D] the administrator's time to confirm
    mass_protection_covers: Literal["all", "every"] = "all"  # [D] sends to everybody only
    mass_protection_errcode: int = 0  # [S] 0: accepted like any other; 89505 is documented (with the msg_id here)
    mass_delay: tuple[float, float] = (1.0, 5.0)  # [S] until MASSSENDJOBFINISH
    mass_before_report: float = 0.5  # [S] share of the receivers who have it when the report is pushed
    mass_after_report: float = 1.0  # [S] seconds until the others have it
    mass_speed_by_get: bool = True  # [F] an older text reads the speed with GET
    mass_speeds: tuple[int, ...] = (80, 60, 45, 30, 10)  # [D] ten thousands a minute, by level
    mass_sender: str = "mphelper"  # [K] FromUserName of the report
    mass_empty_results: Literal["text", "object"] = "text"  # [F] CopyrightCheckResult without content, in JSON
    mass_marker: str = r"\[\[err ([0-9]{5})\]\]"  # [S] a content that holds it is refused by the content check
    mass_reprint_marker: str = "[[reprint]]"  # [S] an article that holds it counts as a reprint
    mass_bad_words: Mapping[str, int] = MappingProxyType({})  # [S] further words, and the code each is refused with
    mass_previews_per_day: int = 100  # [D] to WeChat ids
    mass_news_articles: int = 8  # [D]
    subscribe_templates: int = 25  # [K] private templates (200012)
    subscribe_keywords: tuple[int, int] = (2, 5)  # [D]
    subscribe_scene_chars: int = 15  # [D]
    subscribe_titles_page: int = 30  # [D]
    subscribe_popup_templates: int = 3  # [K]
    subscribe_lasting_kinds: tuple[int, ...] = (3,)  # [K] template types whose consent is not used up
    subscribe_accepts_add_up: bool = True  # [K] each "accept" pays for one more send
    subscribe_deduplicates: bool = True  # [S] client_msg_id, with the time of template messages; unconfirmed
    subscribe_blocked_words: tuple[str, ...] = ("[[blocked]]",)  # [S] 45168
    subscribe_page_chars: int = 1_024  # [S] 41030
    subscribe_delay: tuple[float, float] = (0.3, 3.0)  # [S] until subscribe_msg_sent_event
    subscribe_off_errcode: int = 43101  # [S] ErrorCode when the user switched it off in the meantime
    one_time_title_chars: int = 15  # [D]
    one_time_content_chars: int = 200  # [D]
    one_time_scene_max: int = 10_000  # [D]
    one_time_reserved_bytes: int = 128  # [D]
    kf_accounts_max: int = 100  # [D]
    kf_delete_by_get: bool = True  # [D] older pages delete an agent with GET and the name in the query
    kf_prefix_chars: int = 10  # [D]
    kf_suffix_chars: int = 30  # [D]
    kf_nickname_chars: int = 16  # [D]
    kf_avatar_bytes: int = 5 * MIB  # [D]
    kf_bindings: int = 5  # [K] agent accounts one WeChat user may have (65410)
    kf_invite_seconds: float = 7 * DAY  # [K] life of an invitation
    kf_invite_delay: float | None = 5.0  # [S] until the invited person says yes; None: somebody else decides
    kf_online_when_bound: bool = True  # [S]
    kf_session_seconds: float = 1_800.0  # [D] then the developer's server hears the user again
    kf_session_bypasses_server: bool = True  # [D] messages in a session go to the agent only
    kf_waiting_page: int = 100  # [D]
    kf_records_page: int = 10_000  # [D]
    kf_records_seconds: float = DAY  # [D] 65417 above
    short_key_bytes: int = 4_096  # [D]
    short_key_seconds: int = 2_592_000  # [D] the longest life, and the one without a wish
    short_keys_kept: int = 10_000  # [S] of an account; the oldest are forgotten
    ai_image_bytes: int = 2 * MIB  # [D] pictures to be looked at: under 2 MB
    ai_free_calls: Mapping[str, int] = AI_FREE_CALLS
    ai_nothing_words: tuple[str, ...] = ("nothing",)  # [S] in a file name or address: nothing is found there
    ai_back_words: tuple[str, ...] = ("back",)  # [S] in the same: the back of an identity card
    ai_menu_as_text: bool = True  # [D] the dishes are JSON in a text; False: an object, as the field table has it
    ai_ratios: int = 5  # [D] crops in one question
    ai_voice_bytes: int = MIB  # [D]
    ai_voice_seconds: float = 1.0  # [S] until the text of a recording is there
    ai_voice_life: float = 10.0  # [D] "ask within 10 s"; then nothing is told
    ai_voices_kept: int = 100  # [S] recordings remembered per account
    ai_translate_bytes: int = 600  # [D]
    ai_translate_raw: bool = True  # [F] a body that is no JSON object is the text itself
    datacube_first_day: str = "2014-12-01"  # [D]
    datacube_ready_hour: float = 8.0  # [D] yesterday is 61503 before
    datacube_days: Mapping[str, int] = DATACUBE_DAYS
    datacube_whole_periods: bool = True  # [D] weeks and months are asked for by their first day; False: [D] older text
    datacube_sources: Mapping[str, int] = DATACUBE_SOURCES
    datacube_article_days: int = 7  # [D] how long getarticletotal follows an article

    # --- WeChat Pay -------------------------------------------------------------------------------------------
    pay_timestamp: Literal["real", "world"] = "real"  # [S] of signatures, both ways: the merchant has its own clock
    pay_timestamp_window: float = 300.0  # [D]
    pay_replayed_request: Literal["accept", "refuse"] = "accept"  # [D] the other host takes the same Authorization
    pay_needs_user_agent: bool = True  # [D] 403 without one
    pay_unknown_members: Literal["refuse", "ignore"] = "refuse"  # [D] of a JSON body
    pay_glued_codes: bool = False  # [F] the older spelling ORDERPAID instead of ORDER_PAID, in v3
    pay_unknown_merchant_status: int = 400  # [K] of MCH_NOT_EXISTS; 404 is named too
    pay_openid_mismatch_status: int = 500  # [D] of OPENID_MISMATCH
    pay_prepay_life: float = 7200.0  # [D] of prepay_id and code_url
    pay_h5_life: float = 300.0  # [D] of h5_url
    pay_order_life: float = 7 * DAY  # [D] without time_expire
    pay_order_life_min: float = 60.0  # [D] a nearer time_expire is raised to this
    pay_order_life_max: float = 90 * DAY  # [D] a later one is cut
    pay_max_total: int = 100_000_000  # [S] fen of one order; the real limits depend on the payer's bank
    pay_close_min_age: float = 0.0  # [D] older text demands 300 s before a v3 order may be closed
    pay_v2_close_min_age: float = 300.0  # [K]
    pay_bank_type: str = "OTHERS"  # [S]
    pay_initial_balance: int = 10_000_000  # [S] fen a new merchant can refund and transfer
    pay_refund_delay: float = 3.0  # [S] until a refund leaves PROCESSING; minutes to days in reality
    pay_refund_outcome: Literal["SUCCESS", "ABNORMAL", "CLOSED"] = "SUCCESS"  # [S] how refunds end
    pay_refund_gap: float = 60.0  # [D] between two refunds of one order
    pay_refund_window: float = 365 * DAY  # [D] after the payment
    pay_refunds_per_order: int = 50  # [D]
    pay_bill_ready_hour: float = 10.0  # [D] of the next day in Beijing
    pay_bill_days: int = 92  # [D] "three months"
    pay_bill_link_life: float = 300.0  # [D] 30 s by older text
    pay_fee_rate: float = 0.006  # [K] the platform's share, as the bills show it
    pay_transfer_life: float = DAY  # [D] until an unconfirmed transfer is closed
    pay_transfer_days: int = 30  # [D] how long a transfer can be queried
    pay_transfer_scenes: tuple[str, ...] = (
        *("1000", "1002", "1004", "1005", "1009", "1010", "1011", "1013"),
    )  # [D] granted to a new merchant; an open set
    pay_transfer_max: int = 20_000_000  # [S] fen of one transfer
    pay_transfer_name_from: int = 200_000  # [D] fen from which user_name is required
    pay_transfer_no_name_below: int = 30  # [D] fen below which it is not accepted
    pay_cancel_delay: float = 1.0  # [S] from CANCELING to CANCELLED
    pay_password: str = "123456"  # noqa: S105  # [S] every payer's
    pay_password_tries: int = 5  # [K] wrong ones in a row lock the pad
    pay_password_lock: float = 10_800.0  # [K]
    pay_slow_delay: float = 10.0  # [S] of a payment that stays in USERPAYING for a while
    pay_failed_state: Literal["NOTPAY", "PAYERROR"] = "NOTPAY"  # [D] PAYERROR is for code payments
    pay_close_while_paying: bool = False  # [K] whether an order may be closed while the payer is at the pad
    pay_certificate_life: float = 5 * 365 * DAY  # [D]
    pay_certificate_overlap: float = 5 * DAY  # [D] 180 days by newer text: old and new both in force
    pay_notices_signed_by: Literal["public_key", "certificate"] = "public_key"  # [S] for a merchant who has both
    pay_notice_seconds: float = 5.0  # [D] real seconds the merchant's server has
    pay_notice_delay: float = 0.0  # [S] until the first delivery
    pay_notice_repeats: tuple[float, ...] = (
        *(15.0, 15.0, 30.0, 180.0, 600.0, 1200.0, 1800.0, 1800.0, 1800.0, 3600.0),
        *(10_800.0, 10_800.0, 10_800.0, 21_600.0, 21_600.0),
    )  # [D]
    pay_notice_concurrency: int = 16  # [S] on their way at once
    pay_early_seconds: float = 1.0  # [S] real seconds the order's answer comes behind its notice (fault pay_early)
    pay_kept: int = 10_000  # [S] notices and attempts remembered

    # --- pushes to the developer's server ---------------------------------------------------------------------
    callback_seconds: float = 5.0  # [D] real seconds the server has for an answer
    callback_deliveries: int = 3  # [D] of one push, the first included
    callback_repeats_bad_status: bool = True  # [S] an answer with another status than 200 is asked for again
    callback_fresh_repeats: bool = True  # [S] a repeat has a new timestamp, nonce and cipher text
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
    callback_checks_media: bool = True  # [K] a reply with a media id the account does not have is broken
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

    # --- faults -----------------------------------------------------------------------------------------------
    fault_header: bool = True  # [S] the header X-Sim-Fault of a request orders a fault for itself

    # --- journal ----------------------------------------------------------------------------------------------
    journal_size: int = 10_000  # [S] exchanges kept
    journal_body: int = 16_384  # [S] characters kept of each body
    journal_bytes: int = 64 * MIB  # [S] characters of all bodies together; the oldest exchanges go first
    lint_slow_seconds: float = 4.0  # [S] real seconds after which an answer to a push counts as late
    lint_menu_columns: int = 8  # [F] columns of a top caption a phone shows: 4 Chinese characters
    lint_sub_menu_columns: int = 16  # [F] and of one below it: 7 to 8
    lint_repeats: int = 3  # [S] wrong secrets, blind retries and early fetches that are forgiven
    lint_dead_token_uses: int = 20  # [S] uses of one dead token by one caller that may have been on their way
    lint_dead_token_seconds: float = 10.0  # [S] real seconds after which a few further uses are no accident
    lint_token_requests: int = 30  # [S] of one caller for one living stable token
    lint_busy_seconds: float = 60.0  # [S] simulated seconds in which a busy answer should be followed by a retry
    lint_query_seconds: float = 300.0  # [S] simulated seconds after which a lost payment notice asks for a query
    lint_share: float = 0.9  # [S] part of a daily quota whose use is worth a word

    @classmethod
    def preset(cls, name: Literal["2021", "2023"]) -> Policy:
        """Return the rules of a year: ``"2021"`` (20 customer-service messages in 48 hours) or ``"2023"`` (today's)."""
        return cls(custom_allowances=ALLOWANCES_2021 if name == "2021" else ALLOWANCES_2023)
