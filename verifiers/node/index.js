// Verifies the access tokens of auth-api offline, and refuses what was ended there.
// The README says what the options mean, and what is promised. Durations are in seconds.
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { compactVerify, importJWK } from 'jose';

const NAMES = 'iss,aud,sub,sid,jti,key_id,scope,era,iat,exp,client_id';
const TEXTS = ['sub', 'sid', 'jti', 'key_id', 'scope'];
const LATEST = 2 ** 53;
const MAX_TOKEN_LENGTH = 4096, MAX_REMEMBERED = 10_000;
const LOGIN_SECONDS = 5, REFUSED_SECONDS = 5, LOAD_EVERY_SECONDS = 1, FORGET_EVERY_SECONDS = 10, ANEW_EVERY_SECONDS = 60;
const CURSOR = /^[0-9A-Za-z._-]{1,250}$/;

/** This token opens nothing: its caller needs another one. */
export class Refused extends Error {
  status = 401; error = 'invalid_token'; headers = { 'WWW-Authenticate': 'Bearer error="invalid_token"' };
}
/** Whether the token was ended is not known now: its caller tries again with the same one. */
export class Unavailable extends Error {
  status = 503; error = 'temporarily_unavailable'; headers = { 'Retry-After': '1' };
}

/** The token of an `Authorization: Bearer` header (RFC 6750, 2.1), if it is one. */
export const bearerToken = (header) => /^bearer (.*)$/is.exec(header ?? '')?.[1].replace(/^ +| +$/g, '');

const encode = (data) => Buffer.from(data).toString('base64url');
const isCanonical = (text) => encode(Buffer.from(text, 'base64url')) === text;
const headerSegment = (alg, kid) => encode(JSON.stringify({ alg, typ: 'at+jwt', kid }));
const steadyClock = () => performance.now() / 1000, wallClock = () => Date.now() / 1000;

// JSON as the service writes it: no name twice, no space, no escape; `era` is a number that may end in `.0`.
const asWritten = (claims, text) => [...NAMES.split(',')].map((name) => {
  const whole = name === 'era' && Number.isInteger(claims.era) && text.includes(`"era":${claims.era}.0,`);
  return `"${name}":${JSON.stringify(claims[name])}${whole ? '.0' : ''}`;
});

function readClaims(bytes, issuer, audience) {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), claims = JSON.parse(text);
  if (Object.keys(claims ?? {}).join() !== NAMES || `{${asWritten(claims, text)}}` !== text) throw new Refused('not as the service writes it');
  const { iss, aud, era, iat, exp } = claims;
  if (iss !== issuer || aud !== audience) throw new Refused('not issued there, or for others');
  if (!TEXTS.every((name) => typeof claims[name] === 'string' && claims[name].isWellFormed()) || claims.client_id !== claims.sub
    || ![era, iat, exp].every((each) => Number.isFinite(each) && each >= 0 && each < LATEST)
    || !Number.isInteger(iat) || !Number.isInteger(exp) || iat >= exp) throw new Refused('values that the service does not issue');
  return claims;
}

function isAnswer({ revoked, keys, purged_until, cursor, keep, lease, fresh_for } = {}) {
  const times = [purged_until, keep, lease, fresh_for ?? 0, ...Object.values(revoked ?? [NaN])];
  return times.every(Number.isFinite) && keep > 0 && lease > 0 && CURSOR.test(cursor)
    && Array.isArray(keys) && keys.every((kid) => typeof kid === 'string');
}

const parsed = (text) => { try { return JSON.parse(text) ?? undefined; } catch { return undefined; } };

export function createVerifier({
  url, clientKey, algorithms = ['ES256'], lease: ownLease, patience = 2, issuer = 'auth-api', audience = 'auth-api',
  leeway = 10, accessSeconds = 86_400, steady = steadyClock, wall = wallClock, log = console.warn,
}) {
  const closing = new AbortController(), news = new EventEmitter().setMaxListeners(0), base = url.replace(/\/$/, '');
  const never = { steady: -Infinity, wall: -Infinity };
  const nothing = () => ({ entries: new Map(), keys: new Set(), purgedUntil: 0, cursor: '', good: never, forgetAt: -Infinity });
  let held = nothing(), next = held, keys = new Map(), kids = new Set(), missing = new Set(), remembered = new Map();
  let lease = 1.5, token = '', renewAt = 0, loginAt = -Infinity, refusal = '', loadAt = -Infinity, anewAt = -Infinity;
  let fault = '', keyFault = '', isToldFresh, expiredUntil = 0, heard = 0, asked;

  /** Resolves to the body of a 200, which brings the nonce back if there is one. */
  async function ask(doing, path, seconds, { nonce, ...options }) {
    closing.signal.throwIfAborted();
    const limit = asked = new AbortController(), late = setTimeout(() => limit.abort(new Error('late')), Math.ceil(seconds * 1000));
    try {
      const response = await fetch(base + path, { redirect: 'error', signal: limit.signal, ...options });
      const { status } = response, body = parsed(await response.text());
      if (nonce && response.headers.get('x-request-id') !== nonce) throw new Error('an answer to another request');
      if (status !== 200) throw Object.assign(new Error(`${doing}: ${status} ${body?.error ?? ''}`.trim()), { status });
      return body;
    } finally { clearTimeout(late); }
  }

  // Both clocks: one stands still in a suspended machine, the other may be set.
  const isFresh = () => steady() < held.good.steady && wall() < held.good.wall;
  const failsOpen = () => ownLease !== undefined && ownLease > lease;

  // Judging

  async function read(text) {
    if (remembered.has(text)) return remembered.get(text);
    if (text.length > MAX_TOKEN_LENGTH) throw new Refused('too long');
    const parts = text.split('.'), key = keys.get(parts[0]), reading = keys;
    // Each right header is known, so a stranger's is refused before it is parsed.
    if (parts.length !== 3 || !key || !isCanonical(parts[1]) || !isCanonical(parts[2])) throw new Refused('not a token');
    let found;
    try {
      const { payload } = await compactVerify(text, key.key, { algorithms: [key.alg] });
      found = Object.freeze({ ...readClaims(payload, issuer, audience), kid: key.kid });
    } catch (cause) { throw cause instanceof Refused ? cause : new Refused('not a token', { cause }); }
    if (reading !== keys) return found; // they were loaded anew meanwhile
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value);
    remembered.set(text, found);
    return found;
  }

  /** From memory: throws `Refused` or `Unavailable` without waiting for an answer. */
  async function judge(text) {
    if (typeof text !== 'string') throw new Refused('no token');
    if (!isFresh()) throw new Unavailable(fault || 'nothing was told yet');
    if (missing.has(text.split('.', 1)[0])) throw new Unavailable(keyFault || 'its key is being loaded');
    const claims = await read(text);
    if (!isFresh()) throw new Unavailable(fault || 'nothing was told yet'); // a 410 may have come meanwhile
    const now = wall(), { entries } = held;
    if (claims.exp <= now - leeway) expiredUntil = Math.max(expiredUntil, claims.exp); // so that no clock that is set back revives it
    if (claims.exp <= expiredUntil) throw new Refused('expired');
    if (claims.iat > now + leeway) throw new Refused('issued in the future');
    if (claims.exp - claims.iat > accessSeconds) throw new Refused("lives longer than the service's");
    if (entries.has(claims.sid) || entries.has(claims.jti) || entries.has(claims.key_id)) throw new Refused('ended');
    if (entries.get(claims.sub)?.when > claims.era) throw new Refused('all sessions of the client were ended');
    if (claims.exp <= held.purgedUntil) throw new Refused('long over');
    if (!held.keys.has(claims.kid)) throw new Refused('its key is not in force');
    return claims;
  }

  /** Like `judge`, but what is unavailable is waited for, for up to `patience`. */
  async function verify(text) {
    for (let signal; ;) {
      const before = heard;
      try { return await judge(text); } catch (reason) {
        if (!(reason instanceof Unavailable) || closing.signal.aborted) throw reason;
        signal ??= AbortSignal.timeout(Math.ceil(patience * 1000));
        if (heard === before) await once(news, 'heard', { signal }).catch(() => { throw reason; });
      }
    }
  }

  const status = () => ({
    state: isFresh() ? 'fresh' : held.good === never ? 'empty' : 'stale',
    lease_left: Math.max(0, Math.min(held.good.steady - steady(), held.good.wall - wall())),
    entries: held.entries.size, last_fault: fault || keyFault, fail_open: failsOpen(),
  });

  // Following

  async function logIn() {
    token = '';
    const now = steady();
    if (now < loginAt) throw new Error(refusal);
    const body = JSON.stringify({ client_key: clientKey, scope: 'revocations:read' });
    try {
      const pair = await ask('logging in', '/login', LOGIN_SECONDS, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
      token = pair.access_token;
      renewAt = now + 0.8 * pair.expires_in;
    } catch (reason) {
      if (reason.status < 500) [loginAt, refusal] = [now + REFUSED_SECONDS, reason.message]; // they count against our address
      throw reason;
    }
  }

  /** Resolves to for how long to pause; rejects with whatever is no answer. */
  async function poll() {
    const into = next, usual = Math.min(ownLease ?? Infinity, lease);
    const wait = into.cursor ? Math.min(5, usual / 2 * (0.8 + 0.2 * Math.random())) : 0;
    if (!token || steady() >= renewAt) await logIn();
    const nonce = randomBytes(16).toString('base64url');
    const sent = { steady: steady(), wall: wall() };
    const answer = await ask('polling', `/revocations${into.cursor && `?after=${into.cursor}&wait=${wait.toFixed(3)}`}`, wait + usual / 2,
      { nonce, headers: { Authorization: `Bearer ${token}`, 'X-Request-ID': nonce } });
    if (!isAnswer(answer)) throw new Error('no answer of the feed');
    lease = answer.lease;
    const tells = merge(into, answer);
    if (answer.fresh_for == null) return 0.02;
    await lookForKeys(into.keys, usual / 4);
    const span = answer.fresh_for + (ownLease === undefined ? 0 : ownLease - lease);
    believe(into, { steady: sent.steady + span, wall: sent.wall + span });
    anewIfNeeded(answer);
    // Else a proxy that ends polls early would make a loop.
    return tells ? 0.02 : Math.max(0.02, sent.steady + wait - steady());
  }

  const put = ({ entries }, id, entry) => {
    const { when, wall, steady } = entries.get(id) ?? entry;
    entries.set(id, { when: Math.max(when, entry.when), wall: Math.max(wall, entry.wall), steady: Math.max(steady, entry.steady) });
  };

  /** Whether the answer told anything. A time never becomes an earlier one. */
  function merge(into, { revoked, keys: inForce, purged_until, cursor, keep }) {
    const now = { steady: steady(), wall: wall() };
    const tells = Object.keys(revoked).length > 0 || [...into.keys].join() !== inForce.join();
    for (const [id, when] of Object.entries(revoked)) put(into, id, { when, wall: when + keep, steady: now.steady + keep });
    into.keys = new Set(inForce);
    into.purgedUntil = Math.max(into.purgedUntil, purged_until);
    into.cursor = cursor;
    if (now.steady >= into.forgetAt) forget(into, now);
    return tells;
  }

  // Drops each entry whose tokens are all dead by their `exp`: up to there, every token is refused from now on.
  function forget(from, now) {
    from.forgetAt = now.steady + FORGET_EVERY_SECONDS;
    for (const [id, entry] of from.entries) {
      if (entry.wall <= from.purgedUntil || (entry.steady <= now.steady && entry.wall <= now.wall)) {
        from.purgedUntil = Math.max(from.purgedUntil, entry.wall);
        from.entries.delete(id);
      }
    }
  }

  function believe(heir, good) {
    if (heir !== held) for (const [id, entry] of held.entries) put(heir, id, entry);
    heir.good = good.steady > held.good.steady ? good : held.good;
    held = heir;
    fault = isFresh() ? '' : 'an answer that is too old';
    tellState();
    heard += 1;
    news.emit('heard');
  }

  // Where `purged_until` is of a clock that was ahead, and the service says so no more: load all anew, as after a
  // restart, beside what is held until then.
  function anewIfNeeded({ purged_until }) {
    if (purged_until >= held.purgedUntil || held.purgedUntil <= wall() || steady() < anewAt) return;
    anewAt = steady() + ANEW_EVERY_SECONDS;
    next = nothing();
  }

  // How tokens begin whose key is in force and not known: until it is, they are unavailable.
  const awaited = (inForce) => new Set([...inForce].filter((kid) => !kids.has(kid))
    .flatMap((kid) => algorithms.map((alg) => headerSegment(alg, kid))));

  async function lookForKeys(inForce, seconds) {
    missing = awaited(inForce);
    if (!missing.size || steady() < loadAt) return;
    loadAt = steady() + LOAD_EVERY_SECONDS;
    try { await loadKeys(seconds); keyFault = ''; } catch (reason) { keyFault = reason.message; }
    missing = awaited(inForce);
  }

  async function loadKeys(seconds) {
    const { keys: published } = await ask('loading keys', '/.well-known/jwks.json', seconds, { headers: { 'Cache-Control': 'no-cache' } });
    const loaded = new Map();
    for (const { kid, alg, kty, crv, x, y, n, e } of published) {
      if (algorithms.includes(alg)) loaded.set(headerSegment(alg, kid), { kid, alg, key: await importJWK({ kty, crv, x, y, n, e }, alg) });
    }
    [keys, kids, remembered] = [loaded, new Set(published.map(({ kid }) => kid)), new Map()];
  }

  /** One line when it becomes unavailable, and one when it is fresh again. */
  function tellState() {
    const isNow = isFresh();
    if (isNow === isToldFresh) return;
    isToldFresh = isNow;
    const open = failsOpen() ? `, but fails open by a lease of ${ownLease} s` : '';
    log(`auth-api-verifier: ${isToldFresh ? `fresh${open}` : `unavailable: no token is accepted: ${fault}`}`);
  }

  async function follow() {
    for (let failures = 0; !closing.signal.aborted;) {
      let pause;
      try { pause = await poll(); failures = 0; } catch (reason) {
        if (reason.status === 401 || reason.status === 403) token = '';
        if (reason.status === 410) held = next = nothing();
        fault = reason.cause?.message || reason.message;
        if (!closing.signal.aborted) tellState();
        pause = Math.min(0.4, 0.05 * 2 ** failures++) * (0.5 + Math.random());
      }
      await sleep(pause * 1000, undefined, { signal: closing.signal }).catch(() => {});
    }
  }

  async function close() {
    closing.abort();
    asked?.abort(closing.signal.reason);
    news.emit('heard');
    await following;
  }

  const following = follow();
  return { verify, judge, isFresh, status, close };
}
