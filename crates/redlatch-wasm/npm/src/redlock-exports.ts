export {
    ExecutionError, Lock, ResourceLockedError, type ExecutionResult, type ExecutionStats, type RedisClient,
    type RedlockAbortSignal, type Settings,
} from "./redlock-client.js";
