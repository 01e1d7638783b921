create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only: % on % is refused', tg_op, tg_table_name;
end
$$;

create trigger audit_entry_append_only
  before update or delete or truncate on audit_entry
  for each statement execute function refuse_change();

create trigger audit_tile_append_only
  before update or delete or truncate on audit_tile
  for each statement execute function refuse_change();

create trigger audit_head_stays
  before delete or truncate on audit_head
  for each statement execute function refuse_change();
