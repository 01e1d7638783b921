-- Which entries have which term: see src/index/terms.ts. Derived from the entries, and may be made again at any time.
-- Without rowid, the table is its own index, and a row has about 15 bytes.
create table audit_term (
  term integer not null,
  seq integer not null,
  primary key (term, seq)
) without rowid;

-- The first `size` entries have their terms.
create table audit_indexed (
  id integer primary key check (id = 1),
  size integer not null
);

insert into audit_indexed (id, size) values (1, 0);
