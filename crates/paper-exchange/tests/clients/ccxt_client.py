"""Grades the exchange with ccxt's unified interface."""

from decimal import Decimal

import ccxt
from common import equal, finish, settings, wait_for

config = settings()
unified = config["symbol"].removesuffix("USDT") + "/USDT:USDT"

exchange = ccxt.bybit(
    {
        "apiKey": config["api_key"],
        "secret": config["api_secret"],
        "options": {"defaultType": "swap"},
    }
)
exchange.urls["api"] = {kind: config["http"] for kind in exchange.urls["api"]}
# The currencies endpoint describes chains and withdrawals, which do not exist here.
exchange.has["fetchCurrencies"] = False

# Public data.
assert exchange.fetch_time() > 1_600_000_000_000
markets = exchange.load_markets()
equal(list(markets), [unified], "markets")
market = markets[unified]
assert market["linear"] and market["swap"], market
book = exchange.fetch_order_book(unified, 50)
bid, ask = book["bids"][0][0], book["asks"][0][0]
assert bid < ask, book
assert exchange.fetch_ticker(unified)["bid"] > 0
exchange.fetch_ohlcv(unified, "1m")
exchange.fetch_trades(unified)

# Balance, and a resting order through its life.
start = Decimal(str(exchange.fetch_balance()["USDT"]["total"]))
equal(start, Decimal(config["balance"]), "starting balance")
amount = float(exchange.amount_to_precision(unified, 600 / bid))
low = float(exchange.price_to_precision(unified, bid * 0.8))
resting = exchange.create_order(
    unified, "limit", "buy", amount, low, {"clientOrderId": "ccxt-resting-1"}
)
fetched = exchange.fetch_open_orders(unified)
equal([order["id"] for order in fetched], [resting["id"]], "open orders")
equal(fetched[0]["clientOrderId"], "ccxt-resting-1", "client order id")
equal(fetched[0]["status"], "open", "status")
equal(fetched[0]["price"], low, "price")
try:
    exchange.create_order(
        unified, "limit", "buy", amount, low, {"clientOrderId": "ccxt-resting-1"}
    )
    raise AssertionError("a duplicate client order id was accepted")
except ccxt.ExchangeError as refused:
    assert "110072" in str(refused), refused
exchange.cancel_order(resting["id"], unified)
closed = exchange.fetch_closed_orders(unified) + exchange.fetch_canceled_orders(unified)
equal({order["id"]: order["status"] for order in closed}[resting["id"]], "canceled", "status")
try:
    exchange.cancel_order(resting["id"], unified)
    raise AssertionError("a cancelled order was cancelled again")
except ccxt.OrderNotFound:
    pass

# A taking order, its trades, its position, and the way back.
exchange.set_leverage(5, unified)
bought = exchange.create_order(unified, "market", "buy", amount)


def done():
    orders = exchange.fetch_closed_orders(unified)
    return [order for order in orders if order["id"] == bought["id"]]


order = wait_for("the market order to be closed", done)[0]
equal(order["filled"], amount, "filled amount")
trades = exchange.fetch_my_trades(unified)
equal(
    sum(Decimal(str(trade["amount"])) for trade in trades), Decimal(str(amount)), "traded amount"
)
assert all(trade["takerOrMaker"] == "taker" for trade in trades), trades
position = exchange.fetch_position(unified)
equal((position["side"], position["contracts"]), ("long", amount), "position")
equal(position["leverage"], 5.0, "leverage")
exchange.create_order(unified, "market", "sell", amount, None, {"reduceOnly": True})
wait_for("a flat position", lambda: not exchange.fetch_positions([unified])[0]["contracts"])
try:
    exchange.create_order(unified, "limit", "buy", amount * 1_000_000, low)
    raise AssertionError("an order beyond every limit was accepted")
except (ccxt.InvalidOrder, ccxt.InsufficientFunds, ccxt.BadRequest):
    pass
exchange.create_order(unified, "limit", "buy", amount, low)
exchange.cancel_all_orders(unified)
equal(exchange.fetch_open_orders(unified), [], "open orders after cancel-all")

# A wrong secret.
wrong = ccxt.bybit({"apiKey": config["api_key"], "secret": "x" * 32})
wrong.urls["api"] = {kind: config["http"] for kind in wrong.urls["api"]}
try:
    wrong.fetch_balance()
    raise AssertionError("a wrong signature was accepted")
except ccxt.AuthenticationError:
    pass

finish("ccxt")
