create trigger audit_entry_no_update before update on audit_entry
begin
  select raise(abort, 'the audit log is append-only: update is refused');
end;

create trigger audit_entry_no_delete before delete on audit_entry
begin
  select raise(abort, 'the audit log is append-only: delete is refused');
end;

create trigger audit_tile_no_update before update on audit_tile
begin
  select raise(abort, 'the audit log is append-only: update is refused');
end;

create trigger audit_tile_no_delete before delete on audit_tile
begin
  select raise(abort, 'the audit log is append-only: delete is refused');
end;

create trigger audit_head_no_delete before delete on audit_head
begin
  select raise(abort, 'the audit log is append-only: delete is refused');
end;
