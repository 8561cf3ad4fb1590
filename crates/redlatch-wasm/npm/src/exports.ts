/// <reference lib="esnext.disposable" preserve="true" />
export type { Inspection, NodeSighting, Work } from "./client.js";
export type { TimeSource } from "./clock.js";
export {
    AcquireError, AtRiskError, ContendedError, DeadlineExceededError, InvalidRequestError, LostError, NoQuorumError,
    NodeError, QuarantinedError, RedlatchError, TooLateError, UnconfirmedError, type Vote,
} from "./error.js";
export type { Lock } from "./lock.js";
export type { AbortSignalLike, Node, Reply, Signal } from "./node.js";
export { type IoredisLike, type NodeRedisLike, ioredis, nodeRedis } from "./nodes/clients.js";
export type { FetchLike, HttpOptions, ResponseLike } from "./nodes/http.js";
export { type Connection, type NodeSocketLike, type RespOptions, resp } from "./nodes/resp.js";
export { type UpstashOptions, upstash } from "./nodes/upstash.js";
export { type WebdisOptions, webdis } from "./nodes/webdis.js";
export type { ClientOptions, LockOptions } from "./options.js";
