"""Every endpoint constant of every family against the reference, typed here a second time by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any, NamedTuple

import pytest

import wxmp.api
from wxmp._caller import Endpoint


class Fact(NamedTuple):
    """What the reference says about one endpoint."""

    method: str
    path: str
    repeatable: bool
    auth: str = "token"
    host: str = "api"
    issues_tokens: bool = False
    done: frozenset[int] = frozenset()
    accepted: frozenset[int] = frozenset()


def codes(*numbers: int) -> frozenset[int]:
    """Return a set of codes."""
    return frozenset(numbers)


FACTS: dict[str, Fact] = {
    # server: nothing is changed, so everything may be repeated
    "server.check_callback": Fact("POST", "/cgi-bin/callback/check", True),
    "server.list_api_ips": Fact("GET", "/cgi-bin/get_api_domain_ip", True),
    "server.list_callback_ips": Fact("GET", "/cgi-bin/getcallbackip", True),
    "server.explain_rid": Fact("POST", "/cgi-bin/openapi/rid/get", True),
    # quota: a reset spends one of a few
    "quota.clear": Fact("POST", "/cgi-bin/clear_quota", False),
    "quota.clear_with_secret": Fact("POST", "/cgi-bin/clear_quota/v2", False, auth="none", issues_tokens=True),
    "quota.get": Fact("POST", "/cgi-bin/openapi/quota/get", True),
    "quota.clear_path": Fact("POST", "/cgi-bin/openapi/quota/clear", False),
    # menu: a conditional menu is added each time
    "menu.create": Fact("POST", "/cgi-bin/menu/create", True),
    "menu.get_current": Fact("GET", "/cgi-bin/get_current_selfmenu_info", True),
    "menu.get": Fact("GET", "/cgi-bin/menu/get", True, accepted=codes(46003)),
    "menu.delete": Fact("GET", "/cgi-bin/menu/delete", True, done=codes(46003)),
    "menu.add_conditional": Fact("POST", "/cgi-bin/menu/addconditional", False),
    "menu.delete_conditional": Fact("POST", "/cgi-bin/menu/delconditional", True, done=codes(65301)),
    "menu.try_match": Fact("POST", "/cgi-bin/menu/trymatch", True),
    # user
    "user.get": Fact("GET", "/cgi-bin/user/info", True),
    "user.batch_get": Fact("POST", "/cgi-bin/user/info/batchget", True),
    "user.list": Fact("GET", "/cgi-bin/user/get", True),
    "user.update_remark": Fact("POST", "/cgi-bin/user/info/updateremark", True),
    "user.change_openid": Fact("POST", "/cgi-bin/changeopenid", True),
    # tag: names are unique, so a repeated creation is found out
    "tag.create": Fact("POST", "/cgi-bin/tags/create", True, done=codes(45157)),
    "tag.list": Fact("GET", "/cgi-bin/tags/get", True),
    "tag.update": Fact("POST", "/cgi-bin/tags/update", True),
    "tag.delete": Fact("POST", "/cgi-bin/tags/delete", True, done=codes(45159)),
    "tag.list_members": Fact("POST", "/cgi-bin/user/tag/get", True),
    "tag.add_members": Fact("POST", "/cgi-bin/tags/members/batchtagging", True, accepted=codes(45171)),
    "tag.remove_members": Fact("POST", "/cgi-bin/tags/members/batchuntagging", True, accepted=codes(45171)),
    "tag.list_for_user": Fact("POST", "/cgi-bin/tags/getidlist", True),
    # blacklist
    "blacklist.list": Fact("POST", "/cgi-bin/tags/members/getblacklist", True),
    "blacklist.add": Fact("POST", "/cgi-bin/tags/members/batchblacklist", True),
    "blacklist.remove": Fact("POST", "/cgi-bin/tags/members/batchunblacklist", True),
    # group: names are not unique, so a repeated creation makes two
    "group.create": Fact("POST", "/cgi-bin/groups/create", False),
    "group.list": Fact("GET", "/cgi-bin/groups/get", True),
    "group.get_for_user": Fact("POST", "/cgi-bin/groups/getid", True),
    "group.update": Fact("POST", "/cgi-bin/groups/update", True),
    "group.move_member": Fact("POST", "/cgi-bin/groups/members/update", True),
    "group.move_members": Fact("POST", "/cgi-bin/groups/members/batchupdate", True),
    "group.delete": Fact("POST", "/cgi-bin/groups/delete", True, done=codes(40050)),
    # template: a send may be repeated only with its client_msg_id, which the call decides
    "template.send": Fact("POST", "/cgi-bin/message/template/send", False),
    "template.set_industry": Fact("POST", "/cgi-bin/template/api_set_industry", False),
    "template.get_industry": Fact("GET", "/cgi-bin/template/get_industry", True),
    "template.add": Fact("POST", "/cgi-bin/template/api_add_template", False),
    "template.list": Fact("GET", "/cgi-bin/template/get_all_private_template", True),
    "template.delete": Fact("POST", "/cgi-bin/template/del_private_template", True, done=codes(40037)),
    "template.list_blocked": Fact("POST", "/wxa/sec/queryblocktmplmsg", True),
    # custom: there is no key against doubles
    "custom.send": Fact("POST", "/cgi-bin/message/custom/send", False),
    "custom.set_typing": Fact("POST", "/cgi-bin/message/custom/typing", True, done=codes(45081)),
    # qrcode: pictures come from another host, without token
    "qrcode.create": Fact("POST", "/cgi-bin/qrcode/create", True),
    "qrcode.get_image": Fact("GET", "/cgi-bin/showqrcode", True, auth="none", host="mp"),
    "qrcode.list_rules": Fact("POST", "/cgi-bin/wxopen/qrcodejumpget", True),
    "qrcode.save_rule": Fact("POST", "/cgi-bin/wxopen/qrcodejumpadd", True, done=codes(85071)),
    "qrcode.publish_rule": Fact("POST", "/cgi-bin/wxopen/qrcodejumppublish", False),
    "qrcode.delete_rule": Fact("POST", "/cgi-bin/wxopen/qrcodejumpdelete", True),
    # oauth: a code works once; 40001 and the like are about the user's token or the secret
    "oauth.authorize_url": Fact("GET", "/connect/oauth2/authorize", True, auth="none"),
    "oauth.get_token": Fact("GET", "/sns/oauth2/access_token", False, auth="none", issues_tokens=True),
    "oauth.refresh_token": Fact("GET", "/sns/oauth2/refresh_token", True, auth="none", issues_tokens=True),
    "oauth.get_user": Fact("GET", "/sns/userinfo", True, auth="none"),
    "oauth.check_token": Fact("GET", "/sns/auth", True, auth="none", accepted=codes(40001, 40003, 42001)),
}

#: Async iterators beside the endpoints that page.
ITERATORS = ("user.iter_followers", "user.iter_users", "tag.iter_members", "blacklist.iter_members")

#: A URL is made and nothing is awaited.
NOT_COROUTINES = {"oauth.authorize_url"}


def found_endpoints() -> dict[str, Endpoint]:
    """Return every endpoint constant of the families under the name of its coroutine."""
    found = {}
    for module in pkgutil.iter_modules(wxmp.api.__path__):
        for name, value in vars(importlib.import_module(f"wxmp.api.{module.name}")).items():
            if isinstance(value, Endpoint):
                found[f"{module.name}.{name.lower()}"] = value
    # The one constant whose coroutine has a longer name.
    if "oauth.authorize" in found:
        found["oauth.authorize_url"] = found.pop("oauth.authorize")
    return found


def family_class(family: str) -> type[Any]:
    """Return the API class of a family."""
    module = importlib.import_module(f"wxmp.api.{family}")
    (cls,) = [value for name, value in vars(module).items() if name.lower() == f"{family}api"]
    assert isinstance(cls, type)
    return cls


def test_every_endpoint_is_in_the_table() -> None:
    """No family has an endpoint the table does not know, and none is missing."""
    assert sorted(found_endpoints()) == sorted(FACTS)


@pytest.mark.parametrize("call", FACTS)
def test_the_constant_agrees_with_the_reference(call: str) -> None:
    """Method, path, repeatability, credentials, host and special codes are what the reference says."""
    endpoint = found_endpoints()[call]
    assert FACTS[call] == Fact(
        endpoint.method,
        endpoint.path,
        endpoint.repeatable,
        endpoint.auth,
        endpoint.host,
        endpoint.issues_tokens,
        endpoint.done_codes,
        endpoint.accepted_codes,
    )


def test_no_two_endpoints_share_an_address() -> None:
    """Each path belongs to one coroutine."""
    names = [endpoint.name for endpoint in found_endpoints().values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("call", [*FACTS, *ITERATORS])
def test_the_call_exists(call: str) -> None:
    """Each endpoint has its coroutine under the agreed name, and paging endpoints their iterator."""
    family, _, name = call.partition(".")
    method = getattr(family_class(family), name)
    if call in ITERATORS:
        assert "AsyncGenerator" in str(inspect.signature(method).return_annotation)
    elif call not in NOT_COROUTINES:
        assert inspect.iscoroutinefunction(method)


@pytest.mark.parametrize("call", FACTS)
def test_the_docstring_names_source_and_title(call: str) -> None:
    """Each coroutine says which endpoint it is, and carries the official Chinese title, so that a search finds it."""
    family, _, name = call.partition(".")
    text = inspect.getdoc(getattr(family_class(family), name)) or ""
    fact = FACTS[call]
    assert "Source:" in text
    assert fact.path in text.partition("Source:")[2]
    assert fact.method in text.partition("Source:")[2]
    assert re.search(r"[\u4e00-\u9fff]", text)


@pytest.mark.parametrize("call", FACTS)
def test_only_the_obvious_argument_is_positional(call: str) -> None:
    """Everything after the first two arguments is named, and nothing positional is a switch."""
    family, _, name = call.partition(".")
    parameters = list(inspect.signature(getattr(family_class(family), name)).parameters.values())[1:]
    positional = [entry for entry in parameters if entry.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert len(positional) <= 2
    assert not [entry.name for entry in positional if "bool" in str(entry.annotation)]
