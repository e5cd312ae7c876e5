// The AWS SDK for JavaScript, version 3. Arguments: the endpoint, two buckets, a directory.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { createHash } = require("node:crypto");
const {
  S3Client, PutObjectCommand, GetObjectCommand, HeadObjectCommand, CopyObjectCommand, DeleteObjectCommand,
  DeleteObjectsCommand, ListObjectVersionsCommand, GetObjectAttributesCommand, paginateListObjectsV2,
  waitUntilObjectExists,
} = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");
const { createPresignedPost } = require("@aws-sdk/s3-presigned-post");

const MIB = 1024 * 1024;
const [endpoint, Bucket, other, directory] = process.argv.slice(2);
const client = new S3Client({
  endpoint, region: "us-east-1", forcePathStyle: true, maxAttempts: 1,
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
});
const send = (Command, input) => client.send(new Command({ Bucket, ...input }));
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const get = async (input) => Buffer.from(await (await send(GetObjectCommand, input)).Body.transformToByteArray());
const SAID = {
  ContentType: "text/x-a", CacheControl: "no-store", ContentDisposition: "inline", ContentLanguage: "de",
  Metadata: { who: "me", n: "1" },
};
const said = (answer) => Object.fromEntries(Object.keys(SAID).map((name) => [name, answer[name]]));

async function there_and_back() {
  const names = fs.readdirSync(directory, { recursive: true })
    .filter((name) => fs.statSync(path.join(directory, name)).isFile());
  for (const Key of names) {
    const file = path.join(directory, Key);
    // A stream: sent in chunks, with its checksum in the trailer.
    const before = new Date(Math.floor(Date.now() / 1000) * 1000);
    await send(PutObjectCommand, {
      Key, Body: fs.createReadStream(file), ContentLength: fs.statSync(file).size, ...SAID,
    });
    const head = await send(HeadObjectCommand, { Key, ChecksumMode: "ENABLED" });
    assert.deepEqual(said(head), SAID);
    assert.ok(head.ChecksumCRC32 !== undefined);
    assert.ok(before <= head.LastModified && head.LastModified <= new Date());
    assert.equal(digest(await get({ Key })), digest(fs.readFileSync(file)), Key);
  }
  const listed = [];
  for await (const page of paginateListObjectsV2({ client, pageSize: 4 }, { Bucket })) {
    listed.push(...page.Contents.map((item) => item.Key));
  }
  assert.deepEqual([...listed].sort(), [...names].sort());
  const gone = await send(DeleteObjectsCommand, { Delete: { Objects: names.map((Key) => ({ Key })) } });
  assert.equal(gone.Deleted.length, names.length);
}

async function parts() {
  const Body = Buffer.alloc(17 * MIB, "part of the whole ");
  const params = { Bucket, Key: "d/parts", Body, ...SAID };
  await new Upload({ client, params, partSize: 5 * MIB, queueSize: 4 }).done();
  assert.equal(digest(await get({ Key: "d/parts" })), digest(Body));
  const head = await send(HeadObjectCommand, { Key: "d/parts" });
  assert.deepEqual(said(head), SAID);
  const range = await get({ Key: "d/parts", Range: `bytes=${MIB}-${MIB + 9}` });
  assert.deepEqual(range, Body.subarray(MIB, MIB + 10));
  await send(CopyObjectCommand, { Bucket: other, Key: "copy", CopySource: `${Bucket}/d/parts` });
  assert.deepEqual(said(await send(HeadObjectCommand, { Bucket: other, Key: "copy" })), SAID);
  const attributes = { Key: "d/parts", ObjectAttributes: ["ObjectSize", "ObjectParts", "Checksum"] };
  assert.equal((await send(GetObjectAttributesCommand, attributes)).ObjectSize, Body.length);
}

async function presigned() {
  const Key = "a b/ü+%.txt";
  // With what belongs to the object in the query, as the SDK moves it there.
  const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key, Metadata: { who: "me" } }));
  assert.equal((await fetch(put, { method: "PUT", body: "signed" })).status, 200);
  assert.deepEqual((await send(HeadObjectCommand, { Key })).Metadata, { who: "me" });
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key, ResponseContentType: "text/x-b" }));
  const answer = await fetch(url);
  assert.equal(await answer.text(), "signed");
  assert.equal(answer.headers.get("content-type"), "text/x-b");
  const plain = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }));
  assert.equal((await fetch(plain, { method: "DELETE" })).status, 403);
  assert.equal((await fetch(url.replace("x-b", "x-c"))).status, 403);
  const { url: to, fields } = await createPresignedPost(client, {
    Bucket, Key: "in/${filename}", Conditions: [["content-length-range", 1, 100]], Fields: { "x-amz-meta-who": "me" },
  });
  const form = new FormData();
  Object.entries(fields).forEach(([name, value]) => form.append(name, value));
  form.append("file", new Blob(["by form"]), "form.txt");
  assert.equal((await fetch(to, { method: "POST", body: form })).status, 204);
  assert.equal((await get({ Key: "in/form.txt" })).toString(), "by form");
}

async function conditions_and_versions() {
  const first = await send(PutObjectCommand, { Key: "c", Body: "1", IfNoneMatch: "*" });
  await assert.rejects(send(PutObjectCommand, { Key: "c", Body: "2", IfNoneMatch: "*" }), /PreconditionFailed|condition/);
  await send(PutObjectCommand, { Key: "c", Body: "2", IfMatch: first.ETag });
  await waitUntilObjectExists({ client, maxWaitTime: 10 }, { Bucket, Key: "c" });
  await send(DeleteObjectCommand, { Key: "c" });
  await assert.rejects(send(GetObjectCommand, { Key: "c" }), { name: "NoSuchKey" });
  await assert.rejects(send(HeadObjectCommand, { Key: "c" }), { name: "NotFound" });
  const versions = await send(ListObjectVersionsCommand, { Prefix: "c" });
  assert.deepEqual([versions.Versions.length, versions.DeleteMarkers.length], [2, 1]);
  assert.equal((await get({ Key: "c", VersionId: first.VersionId })).toString(), "1");
}

(async () => {
  for (const step of [there_and_back, parts, presigned, conditions_and_versions]) {
    try { await step(); } catch (error) { console.error(step.name); throw error; }
  }
})().catch((error) => { console.error(error); process.exit(1); });
