"""A shop on FastAPI with WeChat Pay (微信支付): order, page parameters, notice, query, refund, close.

WXMP_PAY_MCHID=… WXMP_PAY_SERIAL=… WXMP_PAY_API_V3_KEY=… WXMP_PAY_PRIVATE_KEY_FILE=apiclient_key.pem \
WXMP_PAY_PUBLIC_KEY_ID=PUB_KEY_ID_… WXMP_PAY_PUBLIC_KEY_FILE=pub_key.pem WXMP_PAY_APPID=wx… \
WXMP_PAY_NOTIFY_URL=https://your.host/pay uvicorn pay_shop:app

On your own machine, without a merchant:

wxmp sim exec --pay -- uvicorn pay_shop:app
"""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from wxmp import TransportError
from wxmp.integrations.fastapi import pay_route
from wxmp.pay import (
    Notifications,
    PayAPIError,
    PayClient,
    PaymentSucceeded,
    RefundEvent,
    Transaction,
)

logging.basicConfig(level=logging.INFO)
PRICE_FEN = 100

pay = PayClient.from_env()
notifications = Notifications(pay)  # several workers: dedupe=RedisDedupe("redis://…")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Handlers may end first; the client is closed last."""
    async with pay, notifications:
        yield


app = FastAPI(routes=[pay_route("/pay", notifications)], lifespan=lifespan)


@attrs.define
class Purchase:
    """What the shop itself knows of an order."""

    number: str
    openid: str
    total_fen: int = PRICE_FEN
    state: str = "open"
    delivered: int = 0


#: Stands for the table in your database.
PURCHASES: dict[str, Purchase] = {}


def find(number: str) -> Purchase:
    """Look a purchase up."""
    if number not in PURCHASES:
        raise HTTPException(404, "no such purchase")
    return PURCHASES[number]


def deliver(purchase: Purchase) -> None:
    """Deliver once, whoever says first that it is paid, the notice or the query: UPDATE … WHERE state = 'open'."""
    if purchase.state == "open":
        purchase.state = "paid"
        purchase.delivered += 1


def learn(purchase: Purchase, found: Transaction) -> None:
    """Take over what the platform says of an order, if it is about the very same thing."""
    if found.paid:
        found.check(
            appid=str(pay.appid),
            out_trade_no=purchase.number,
            total_fen=purchase.total_fen,
        )
        deliver(purchase)
    elif found.settled:
        purchase.state = "closed"


@notifications.on(PaymentSucceeded)
async def paid(event: PaymentSucceeded) -> None:
    """Believe a notice only when it is about this very order."""
    purchase = PURCHASES[event.resource.out_trade_no]
    event.check(
        appid=str(pay.appid), out_trade_no=purchase.number, total_fen=purchase.total_fen
    )
    deliver(purchase)


@notifications.on(RefundEvent)
async def refunded(event: RefundEvent) -> None:
    """The money is back, or the bank has refused it."""
    PURCHASES[event.resource.out_trade_no].state = f"refund {event.resource.status}"


@app.post("/orders")
async def create(openid: str) -> dict[str, str]:
    """Take a number and write it down before anything is sent: it makes every repetition harmless."""
    number = f"tea-{secrets.token_hex(8)}"
    PURCHASES[number] = Purchase(number, openid)
    return {"number": number}


@app.post("/orders/{number}/pay")
async def page_parameters(number: str) -> dict[str, str]:
    """Order, and return what the page hands to WeixinJSBridge. Called again, it is the same order, signed anew."""
    purchase = find(number)
    order = await pay.order.jsapi(
        purchase.number,
        description="一杯茶",
        total_fen=purchase.total_fen,
        openid=purchase.openid,
    )
    return order.params()


@app.get("/orders/{number}")
async def show(number: str) -> dict[str, object]:
    """Tell what became of a purchase. While no notice has come, ask the platform: notices can be lost."""
    purchase = find(number)
    if purchase.state == "open":
        try:
            learn(purchase, await pay.order.get(out_trade_no=number))
        except PayAPIError as error:
            if error.code != "ORDER_NOT_EXIST":  # the payer has not got as far as that
                raise
    return {"state": purchase.state, "delivered": purchase.delivered}


@app.post("/orders/{number}/cancel")
async def cancel(number: str) -> dict[str, str]:
    """Close an order, unless the payer was quicker."""
    purchase = find(number)
    learn(purchase, await pay.order.ensure_closed(number))
    return {"state": purchase.state}


@app.post("/orders/{number}/refund")
async def refund(number: str) -> dict[str, str]:
    """Give all of it back. The refund's number follows from the order's: a second call is the same refund."""
    purchase = find(number)
    made = await pay.refund.create(
        f"{number}-r1",
        out_trade_no=number,
        refund_fen=purchase.total_fen,
        total_fen=purchase.total_fen,
        notify_url=pay.notify_url,
    )
    return {"status": made.status}


@app.exception_handler(PayAPIError)
async def refused(_: Request, error: PayAPIError) -> JSONResponse:
    """Tell the page the code; the advice is for you."""
    logging.getLogger("shop").error("%s", error)
    return JSONResponse({"code": error.code}, status_code=409)


@app.exception_handler(TransportError)
async def unreachable(_: Request, error: TransportError) -> JSONResponse:
    """Nobody knows what happened: the page may ask again, under the same number."""
    logging.getLogger("shop").warning("%s", error)
    return JSONResponse({"code": "TRY_AGAIN"}, status_code=503)
