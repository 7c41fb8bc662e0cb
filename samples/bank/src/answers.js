// Answers, and what can be wrong with a request.

/** Thrown to end a request with an error; `answer` turns it into a response. */
export class Refusal extends Error {
  constructor(statusCode, code, message) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
  }
}

/**
 * Wraps an endpoint function: what it returns becomes the JSON body, a Refusal becomes an error of the same form as the
 * framework's own. The writes of a refused request are not applied, because its status is not 2xx.
 */
export function endpoint(run) {
  return (request) => {
    try {
      const body = run(request);
      return body === undefined ? { statusCode: 204 } : { body };
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      const { statusCode, code, message } = error;
      return { statusCode, body: { error: { code, message } } };
    }
  };
}

/** The JSON object in the body. */
export function jsonBody(request) {
  let body;
  try {
    body = request.body.json();
  } catch {
    throw new Refusal(400, "InvalidInput", "The body is not JSON");
  }
  if (typeof body !== "object" || body === null) {
    throw new Refusal(400, "InvalidInput", "The body is not a JSON object");
  }
  return body;
}

/** An amount of money: a positive whole number that arithmetic cannot round. */
export function amount(value) {
  if (!Number.isSafeInteger(value) || value <= 0) {
    throw new Refusal(400, "InvalidInput", "value must be a positive whole number");
  }
  return value;
}

/** The account, or an error. */
export function existing(account, what) {
  if (account === undefined) {
    throw new Refusal(404, "AccountNotFound", `${what} does not exist`);
  }
  return account;
}
