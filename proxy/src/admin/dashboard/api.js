// Asking the sidecar. The token is in memory and in this tab's session storage, nowhere else.

const KEPT = "sidecache-admin-token";
/** For what is only read. */
const PATIENCE = 5_000;
/** For what others have to acknowledge: the listener itself gives up after 30 seconds. */
const LONG_PATIENCE = 35_000;

let token = sessionStorage.getItem(KEPT);

/** The sidecar cannot be reached, or is silent. */
export class NoAnswer extends Error {}

/** The token is missing or wrong. */
export class TokenNeeded extends Error {}

/** It answers, and does not do it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the answer was ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

export const hasToken = () => token !== null;

/** Takes another token, or none, for all that is asked from now on. */
export function useToken(value) {
  token = value;
  if (value === null) sessionStorage.removeItem(KEPT);
  else sessionStorage.setItem(KEPT, value);
}

export const read = path => ask(path, {}, PATIENCE);

export function send(path, body) {
  const headers = { "content-type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) }, LONG_PATIENCE);
}

/** @throws {NoAnswer|TokenNeeded|Refused} */
async function ask(path, options, patience) {
  const headers = { accept: "application/json", ...options.headers };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  let response;
  let value;
  try {
    const limits = { cache: "no-store", credentials: "omit", redirect: "error" };
    response = await fetch(path, { ...options, ...limits, headers, signal: AbortSignal.timeout(patience) });
    value = await response.json();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw new NoAnswer(error.message);
  }
  // 421: asked for under a name that is not the listener's own, which only the token allows.
  if (response.status === 401 || response.status === 421) throw new TokenNeeded(value?.detail);
  if (!response.ok || value === undefined) throw new Refused(response.status, value);
  return { status: response.status, value };
}
