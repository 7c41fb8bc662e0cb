// Moving money, and what moved.

import { amount, endpoint, existing, jsonBody, Refusal } from "./answers.js";
import { book, find, isUser, save } from "./store.js";

/**
 * POST /transfer/{name} {"value": 40, "to_user": "<user ID>", "to_account": "savings"}
 *
 * Both accounts change in one transaction. If another request changes one of them meanwhile, the service runs this
 * function again on the new state, so money is neither lost nor made.
 *
 * The digest of a claim becomes part of the transaction's receipt: who holds the claim's text and the receipt can
 * prove to a third party, offline, that the payment was made.
 */
export const transfer = endpoint((request) => {
  const owner = request.caller.id;
  const { name } = request.params;
  const body = jsonBody(request);
  const value = amount(body.value);
  const toUser = String(body.to_user);
  const toAccount = String(body.to_account);
  if (owner === toUser && name === toAccount) {
    throw new Refusal(400, "InvalidInput", "The two accounts are the same");
  }
  if (!isUser(toUser)) {
    throw new Refusal(404, "UserNotFound", "The receiving user does not exist");
  }
  const from = existing(find(owner, name), "The account");
  const to = existing(find(toUser, toAccount), "The receiving account");
  if (from.balance < value) {
    throw new Refusal(400, "BalanceTooLow", "The balance is too low");
  }
  if (!Number.isSafeInteger(to.balance + value)) {
    throw new Refusal(400, "InvalidInput", "The receiving account cannot hold that much");
  }
  book(from, -value, toUser);
  book(to, value, owner);
  save(owner, name, from);
  save(toUser, toAccount, to);

  const claim = `${owner} sent ${value} to ${toUser}`;
  ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", ccf.strToBuf(claim)));
  return { balance: from.balance, claim };
});

/** GET /statement/{name} */
export const statement = endpoint((request) => {
  const account = existing(find(request.caller.id, request.params.name), "The account");
  return { balance: account.balance, movements: account.movements };
});
