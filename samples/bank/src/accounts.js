// Accounts of the caller: open, pay in, look.

import { amount, endpoint, existing, jsonBody, Refusal } from "./answers.js";
import { book, empty, find, save } from "./store.js";

/** PUT /account/{name}: opening an account again changes nothing. */
export const openAccount = endpoint((request) => {
  const owner = request.caller.id;
  const { name } = request.params;
  if (find(owner, name) === undefined) {
    save(owner, name, empty());
  }
});

/** POST /deposit/{name} {"value": 100} */
export const deposit = endpoint((request) => {
  const owner = request.caller.id;
  const { name } = request.params;
  const value = amount(jsonBody(request).value);
  const account = existing(find(owner, name), "The account");
  if (!Number.isSafeInteger(account.balance + value)) {
    throw new Refusal(400, "InvalidInput", "The account cannot hold that much");
  }
  book(account, value, "deposit");
  save(owner, name, account);
  return { balance: account.balance };
});

/** GET /balance/{name} */
export const balance = endpoint((request) => {
  const account = existing(find(request.caller.id, request.params.name), "The account");
  return { balance: account.balance };
});
