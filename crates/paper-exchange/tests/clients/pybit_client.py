"""Grades the exchange with pybit: REST, the public stream and the private stream."""

import os
import sys
import time
import traceback
from decimal import Decimal

import pybit.exceptions
import pybit.unified_trading as unified
from common import equal, finish, settings, wait_for

config = settings()
symbol = config["symbol"]

session = unified.HTTP(
    api_key=config["api_key"],
    api_secret=config["api_secret"],
    max_retries=1,
)
session.endpoint = config["http"]
unified.PRIVATE_WSS = config["ws"] + "/v5/private"
unified.PUBLIC_WSS = config["ws"] + "/v5/public/{CHANNEL_TYPE}"

# Public data.
assert int(session.get_server_time()["result"]["timeSecond"]) > 1_600_000_000
info = session.get_instruments_info(category="linear", symbol=symbol)["result"]["list"][0]
tick = Decimal(info["priceFilter"]["tickSize"])
step = Decimal(info["lotSizeFilter"]["qtyStep"])
minimum = Decimal(info["lotSizeFilter"]["minOrderQty"])
book = session.get_orderbook(category="linear", symbol=symbol, limit=50)["result"]
bid, ask = Decimal(book["b"][0][0]), Decimal(book["a"][0][0])
assert bid < ask, book
equal(len(book["b"]), 50, "levels asked for")
equal(bid % tick, 0, "the bid on the tick")
ticker = session.get_tickers(category="linear", symbol=symbol)["result"]["list"][0]
assert Decimal(ticker["bid1Price"]) < Decimal(ticker["ask1Price"]), ticker
session.get_public_trade_history(category="linear", symbol=symbol)
session.get_kline(category="linear", symbol=symbol, interval="1")



class Awaited(dict):
    """A dictionary that waits for a missing key.

    pybit notes a subscription only after it has sent it, and its other thread fails when the
    answer is there first, as it may be over loopback.
    """

    def __missing__(self, key):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if key in self:
                return self[key]
            time.sleep(0.001)
        raise KeyError(key)


def stream(**arguments):
    socket = unified.WebSocket(testnet=False, **arguments)
    socket.subscriptions = Awaited(socket.subscriptions)
    socket.callback_directory = Awaited(socket.callback_directory)
    return socket


def fail(*error):
    # pybit's threads would keep a failed script alive.
    traceback.print_exception(*error)
    sys.stderr.flush()
    os._exit(1)


sys.excepthook = fail

# Streams, before the first order.
orders, executions, positions, wallets, books, trades = [], [], [], [], [], []
private = stream(
    channel_type="private", api_key=config["api_key"], api_secret=config["api_secret"]
)
private.order_stream(callback=lambda message: orders.extend(message["data"]))
private.execution_stream(callback=lambda message: executions.extend(message["data"]))
private.position_stream(callback=lambda message: positions.extend(message["data"]))
private.wallet_stream(callback=lambda message: wallets.extend(message["data"]))
public = stream(channel_type="linear")
public.orderbook_stream(depth=50, symbol=symbol, callback=books.append)
public.trade_stream(symbol=symbol, callback=lambda message: trades.extend(message["data"]))
wait_for("the book stream", lambda: books)
streamed = books[-1]["data"]
assert Decimal(streamed["b"][0][0]) < Decimal(streamed["a"][0][0]), streamed

# A resting order: place, query, amend, cancel.
quantity = ((Decimal(20) / bid) // step + 1) * step
quantity = max(quantity, minimum)
low = (bid * Decimal("0.8")) // tick * tick
placed = session.place_order(
    category="linear",
    symbol=symbol,
    side="Buy",
    orderType="Limit",
    qty=str(quantity),
    price=str(low),
    timeInForce="PostOnly",
    orderLinkId="pybit-resting-1",
)["result"]
equal(placed["orderLinkId"], "pybit-resting-1", "the echoed orderLinkId")


def states(order_id):
    return [order["orderStatus"] for order in orders if order["orderId"] == order_id]


wait_for("New on the stream", lambda: "New" in states(placed["orderId"]))
open_orders = session.get_open_orders(category="linear", symbol=symbol)["result"]["list"]
equal([order["orderId"] for order in open_orders], [placed["orderId"]], "open orders")
equal(open_orders[0]["orderStatus"], "New", "status")
equal(open_orders[0]["positionIdx"], 0, "positionIdx")
try:
    session.place_order(
        category="linear",
        symbol=symbol,
        side="Buy",
        orderType="Limit",
        qty=str(quantity),
        price=str(low),
        orderLinkId="pybit-resting-1",
    )
    raise AssertionError("a duplicate orderLinkId was accepted")
except pybit.exceptions.InvalidRequestError as refused:
    equal(refused.status_code, 110072, "retCode of a duplicate")
session.amend_order(
    category="linear", symbol=symbol, orderLinkId="pybit-resting-1", price=str(low - tick)
)
amended = session.get_open_orders(category="linear", orderLinkId="pybit-resting-1")
equal(Decimal(amended["result"]["list"][0]["price"]), low - tick, "amended price")
session.cancel_order(category="linear", symbol=symbol, orderId=placed["orderId"])
wait_for("Cancelled on the stream", lambda: "Cancelled" in states(placed["orderId"]))
try:
    session.cancel_order(category="linear", symbol=symbol, orderId=placed["orderId"])
    raise AssertionError("a cancelled order was cancelled again")
except pybit.exceptions.InvalidRequestError as refused:
    equal(refused.status_code, 110001, "retCode of a second cancel")

# A taking order: fill, execution, position, wallet.
session.set_leverage(category="linear", symbol=symbol, buyLeverage="5", sellLeverage="5")
before = Decimal(
    session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"][0][
        "walletBalance"
    ]
)
taken = session.place_order(
    category="linear",
    symbol=symbol,
    side="Buy",
    orderType="Market",
    qty=str(quantity),
    orderLinkId="pybit-market-1",
)["result"]
wait_for("Filled on the stream", lambda: "Filled" in states(taken["orderId"]))


def filled():
    return [fill for fill in executions if fill["orderId"] == taken["orderId"]]


wait_for(
    "every execution on the stream",
    lambda: sum(Decimal(fill["execQty"]) for fill in filled()) == quantity,
)
listed = session.get_executions(category="linear", orderId=taken["orderId"])["result"]["list"]
equal(
    sorted(fill["execId"] for fill in listed),
    sorted(fill["execId"] for fill in filled()),
    "executions by REST and by stream",
)
fees = sum(Decimal(fill["execFee"]) for fill in listed)
value = sum(Decimal(fill["execPrice"]) * Decimal(fill["execQty"]) for fill in listed)
equal(fees, value * Decimal("0.00055"), "taker fees")
wallet = session.get_wallet_balance(accountType="UNIFIED", coin="USDT")["result"]["list"][0]
equal(Decimal(wallet["coin"][0]["walletBalance"]), before - fees, "wallet after the fee")
entries = session.get_transaction_log(accountType="UNIFIED", currency="USDT")["result"]["list"]
equal({entry["type"] for entry in entries}, {"TRADE"}, "types in the transaction log")
equal(sum(Decimal(entry["change"]) for entry in entries), -fees, "changes in the transaction log")
position = session.get_positions(category="linear", symbol=symbol)["result"]["list"][0]
equal(position["side"], "Buy", "position side")
equal(Decimal(position["size"]), quantity, "position size")
equal(position["leverage"], "5", "leverage")
wait_for("the position on the stream", lambda: Decimal(positions[-1]["size"]) == quantity)
wait_for("the wallet on the stream", lambda: wallets)
wait_for("our trade on the public stream", lambda: trades)

# Close it, reduce-only.
session.place_order(
    category="linear",
    symbol=symbol,
    side="Sell",
    orderType="Market",
    qty=str(quantity),
    reduceOnly=True,
)
wait_for(
    "a flat position",
    lambda: not session.get_positions(category="linear", settleCoin="USDT")["result"]["list"],
)
try:
    session.place_order(
        category="linear",
        symbol=symbol,
        side="Sell",
        orderType="Market",
        qty=str(quantity),
        reduceOnly=True,
    )
    raise AssertionError("a reduce-only order was accepted without a position")
except pybit.exceptions.InvalidRequestError as refused:
    equal(refused.status_code, 110017, "retCode of reduce-only without a position")

# Cancel-all, history, account.
for index in range(3):
    session.place_order(
        category="linear",
        symbol=symbol,
        side="Buy",
        orderType="Limit",
        qty=str(quantity),
        price=str(low),
        orderLinkId=f"pybit-many-{index}",
    )
cancelled = session.cancel_all_orders(category="linear", settleCoin="USDT")["result"]["list"]
equal(len(cancelled), 3, "orders that cancel-all took")
equal(
    session.get_open_orders(category="linear", settleCoin="USDT")["result"]["list"], [], "open"
)
page = session.get_order_history(category="linear", symbol=symbol, limit=2)["result"]
equal(len(page["list"]), 2, "first page of the history")
rest = session.get_order_history(
    category="linear", symbol=symbol, limit=50, cursor=page["nextPageCursor"]
)["result"]
seen = [order["orderId"] for order in page["list"] + rest["list"]]
equal(len(seen), len(set(seen)), "orders seen once over all pages")
equal(len(seen), 6, "orders in the history")
equal(session.get_account_info()["result"]["unifiedMarginStatus"], 5, "account status")
equal(
    session.get_fee_rates(category="linear", symbol=symbol)["result"]["list"][0]["takerFeeRate"],
    "0.00055",
    "taker fee rate",
)
equal(session.get_api_key_information()["result"]["apiKey"], config["api_key"], "API key")

# A wrong secret.
wrong = unified.HTTP(api_key=config["api_key"], api_secret="x" * 32, max_retries=1)
wrong.endpoint = config["http"]
try:
    wrong.get_account_info()
    raise AssertionError("a wrong signature was accepted")
except pybit.exceptions.InvalidRequestError as refused:
    equal(refused.status_code, 10004, "retCode of a wrong signature")

private.exit()
public.exit()
finish("pybit")
