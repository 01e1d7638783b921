/** The passwords of the users of Redis that have one. */
export interface RedisPasswords {
  cardea: string;
  exporter: string;
}

/**
 * Returns the users of Redis, one a line, as its file of users (`aclfile`) has them. Passwords are in it as hashes.
 *
 * - `cardea` is api-service and the workers: limits of requests and jobs. All of its keys begin with `cardea:`. It may not
 *   stop Redis, empty it, list its keys, change its settings or users, load code that stays, or speak with others over
 *   channels. A script that it sends has no more rights than itself.
 * - `health` is the check of the container. It has no password, because it may do nothing but ask whether Redis answers.
 */
export async function redisUsers({ cardea, exporter }: RedisPasswords): Promise<string[]> {
  return [
    // Nobody can log in as it. But Redis reads its own file of appended commands with the rights of this user, and with none
    // it drops every transaction when it starts.
    'user default off ~* &* +@all',
    // BullMQ asks for the version of Redis (info), and the limits of requests send their scripts once (script|load).
    `user cardea on #${await sha256(cardea)} ~cardea:* resetchannels +@all -@admin -@dangerous -@scripting -@pubsub -scan -randomkey -dbsize +info +eval +evalsha +script|load`,
    `user exporter on #${await sha256(exporter)} resetchannels +ping +info +client|setname +config|get +slowlog|len +slowlog|get +latency|latest +latency|histogram`,
    'user health on nopass resetchannels +ping',
  ];
}

async function sha256(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))).toString('hex');
}
